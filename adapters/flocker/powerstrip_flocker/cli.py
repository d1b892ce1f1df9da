"""
The command ``powerstrip-flocker``: which datasets there are, and what is done with them by hand.

I/O: asks the adapter where it listens. Keys alone are made without it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import sleep, time
from typing import Any

from powerstrip.adapter.asking import AskedAdapter, CommandError, at_option
from powerstrip.adapter.tables import table
from powerstrip_flocker.amounts import ago_text, size_text
from powerstrip_flocker.datasets.progress import Progress
from powerstrip_flocker.errors import FlockerError
from powerstrip_flocker.names import check_name
from powerstrip_flocker.options import DEFAULT_LISTEN
from powerstrip_flocker.peers.keys import make_keys
from powerstrip_flocker.screen import Screen
from powerstrip_flocker.status import Departure, read_progress

ANSWER_SECONDS = 60.0
"""How long the adapter may take to say how it is: etcd, the storage and the engine have time-outs
of their own. What changes something is waited for as long as it takes."""

LOOK_SECONDS = 0.5
"""How often is looked how far a move is."""

Answer = dict[str, Any]


def main(words: Sequence[str] | None = None) -> None:
    """
    Do what the command line says.

    Raises:
        SystemExit: always where it could not be done, with a sentence or a status.
    """
    options = _options(words)
    try:
        if options.command == "keys":
            _keys(options)
            return
        if "name" in options:
            check_name(options.name)
        options.do(AskedAdapter("flocker", options.at, ANSWER_SECONDS), options)
    except (CommandError, FlockerError) as error:
        raise SystemExit(f"powerstrip-flocker: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # as a shell says it of what SIGINT has ended


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    at = at_option(DEFAULT_LISTEN)
    parser = argparse.ArgumentParser(
        prog="powerstrip-flocker",
        description="Which datasets there are, and what is done with them by hand.",
        parents=[at],
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, what: str, do: Callable[[AskedAdapter, argparse.Namespace], None]
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what, description=what, parents=[at])
        command.set_defaults(do=do)
        return command

    add("list", "the datasets of all nodes, and what this node has of them", _list)
    inspect = add("inspect", "all that is known of a dataset, as JSON", _inspect)
    move = add("move", "have a dataset moved to a node", _move)
    snapshots = add("snapshots", "the snapshots that this node has of a dataset", _snapshots)
    destroy = add("destroy", "remove a dataset of this node, with all its replicas", _destroy)
    promote = add("promote", "own a dataset whose owner is gone for good", _promote)
    for command in (inspect, move, snapshots, destroy, promote):
        command.add_argument("name", metavar="NAME")
    move.add_argument("--to", metavar="NODE", required=True)
    for command in (destroy, promote):
        command.add_argument("--yes", action="store_true", help="do not ask")
    status = add("status", "how it is, and what is wrong, which the status 1 says too", _status)
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as the adapter says it")
    form.add_argument("--watch", action="store_true", help="show how far moves are, until Ctrl-C")
    what = "make certificates for a trial, with which nodes speak to each other"
    keys = commands.add_parser("keys", help=what, description=what)
    keys.add_argument("directory", metavar="DIR", type=Path)
    keys.add_argument("nodes", metavar="NODE", nargs="+", help="as its --node")
    return parser.parse_args(words, argparse.Namespace(at=DEFAULT_LISTEN))


def _list(adapter: AskedAdapter, _: argparse.Namespace) -> None:
    print("\n".join(dataset_lines(adapter.ask("GET", "/datasets")["datasets"])[:-1]))


def _inspect(adapter: AskedAdapter, options: argparse.Namespace) -> None:
    print(json.dumps(adapter.ask("GET", f"/datasets/{options.name}"), indent=2))


def _snapshots(adapter: AskedAdapter, options: argparse.Namespace) -> None:
    found = adapter.ask("GET", f"/datasets/{options.name}/snapshots")["snapshots"]
    rows = [(it["name"], _moment(it), it["identity"]) for it in found]
    print("\n".join(table(("SNAPSHOT", "TAKEN", "IDENTITY"), rows)[:-1]))


def _status(adapter: AskedAdapter, options: argparse.Namespace) -> None:
    answer = adapter.ask("GET", "/status")
    if options.json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(status_lines(answer)), flush=True)
    if options.watch:
        _watch(adapter)
    if _problems(answer):
        raise SystemExit(1)


def _watch(adapter: AskedAdapter) -> None:
    screen = Screen(sys.stdout)
    while True:
        screen.show(_moves(adapter))
        sleep(LOOK_SECONDS)


def _move(adapter: AskedAdapter, options: argparse.Namespace) -> None:
    screen = Screen(sys.stdout)

    def show() -> None:
        screen.show([it for it in _moves(adapter) if it.name == options.name])

    path = f"/datasets/{options.name}/move"
    try:
        answer = _change(adapter, "POST", path, {"to": options.to}, show)
    except KeyboardInterrupt:
        # Given up if the node that it goes to was asked; else that node goes on.
        what = "status tells whether it goes on, list where it is"
        raise CommandError(f"the move of {options.name} is not waited for: {what}") from None
    screen.show([])
    print(f"{answer['name']} is on {answer['owner']}")


def _destroy(adapter: AskedAdapter, options: argparse.Namespace) -> None:
    if not options.yes:
        found = adapter.ask("GET", f"/datasets/{options.name}")
        whose = found["owner"] or f"nobody on {found['node']}"
        what = f"{found['name']} of {whose}"
        if found["used_bytes"] is not None:
            what += f", {size_text(found['used_bytes'])}"
        if found["replicas"]:
            what += f", with its replicas on {', '.join(found['replicas'])}"
        _confirm(f"Remove {what}, for good?")
    _change(adapter, "DELETE", f"/datasets/{options.name}", {})
    print(f"{options.name} is removed")


def _promote(adapter: AskedAdapter, options: argparse.Namespace) -> None:
    found = adapter.ask("GET", f"/datasets/{options.name}")
    if found["owner"] == found["node"]:
        raise CommandError(f"{found['node']} owns {found['name']} already")
    if found["newest"] is None:
        raise CommandError(f"{found['node']} has no replica of {found['name']}")
    print(
        f"{found['name']} belongs to {found['owner']}. The newest that {found['node']} has of it "
        f"is of {_moment(found['newest'])}: what was written since is lost, also on "
        f"{found['owner']}, should that node come back."
    )
    if not options.yes:
        _confirm(f"Is {found['owner']} gone for good, and is {found['node']} to own it?")
    answer = _change(adapter, "POST", f"/datasets/{options.name}/promote", {})
    print(f"{answer['name']} belongs to {answer['owner']}, as of {_moment(answer['snapshot'])}")


def _keys(options: argparse.Namespace) -> None:
    make_keys(options.directory, options.nodes)
    for node in options.nodes:
        print(f"{node}: {options.directory / node}/ca.pem cert.pem key.pem")
    print(f"For more nodes later: {options.directory}/ca-key.pem, which is for no node.")


def _confirm(question: str) -> None:
    try:
        said = input(f"{question} [y/N] ")
    except EOFError:
        said = ""
    if said.strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was done")


def _change(
    adapter: AskedAdapter,
    method: str,
    path: str,
    body: Mapping[str, str],
    meanwhile: Callable[[], None] = lambda: None,
) -> Answer:
    """
    Ask for what may take as long as it takes.
    """
    question = adapter.begin(method, path, body)
    try:
        while not question.is_answered(LOOK_SECONDS):
            meanwhile()
        return question.answer()
    finally:
        question.close()


def _moves(adapter: AskedAdapter) -> list[Progress | Departure]:
    return [read_progress(it) for it in adapter.ask("GET", "/moves")["moves"]]


def status_lines(answer: Answer) -> list[str]:
    """
    A status as text: the tables that have rows, and a line for each move and each problem.
    """
    free_bytes = answer["storage"]["free_bytes"]
    free = "?" if free_bytes is None else size_text(free_bytes)
    moves = [read_progress(it).line() for it in answer["moves"]]
    return [
        *table(("NODE", "STORAGE", "FREE"), [(answer["node"], answer["storage"]["name"], free)]),
        *table(("NODES", "ADDRESS"), answer["nodes"].items()),
        *(dataset_lines(answer["datasets"]) if answer["datasets"] else []),
        *([*moves, ""] if moves else []),
        *(f"problem: {problem}" for problem in _problems(answer)),
    ]


def dataset_lines(datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    """
    Datasets as a table, and an empty line. Without any, there is the head alone.
    """
    rows = [
        (
            it["name"],
            it["owner"] or "-",
            "-" if it["used_bytes"] is None else size_text(it["used_bytes"]),
            "-" if it["here"] == "nothing" else it["here"],
            " ".join(it["replicas"]) or "-",
        )
        for it in datasets
    ]
    head = ("NAME", "OWNER", "SIZE", "HERE", "REPLICAS")
    return table(head, rows) or ["   ".join(head), ""]


def _problems(answer: Answer) -> list[str]:
    told = [answer[part]["problem"] for part in ("ledger", "engine")]
    return [*(it for it in told if it), *answer["problems"]]


def _moment(snapshot: Mapping[str, Any]) -> str:
    taken_seconds = snapshot["created_seconds"]
    taken = datetime.fromtimestamp(taken_seconds, UTC)
    return f"{taken:%Y-%m-%d %H:%M:%S} UTC ({ago_text(time() - taken_seconds)})"


if __name__ == "__main__":
    main(sys.argv[1:])
