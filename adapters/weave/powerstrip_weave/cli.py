"""
The command ``powerstrip-weave``: how the adapter is, and what is done by hand.

I/O: asks the adapter where it listens. A reset alone needs no adapter: it asks the kernel.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import react

from powerstrip.adapter.asking import AskedAdapter, CommandError, at_option
from powerstrip.adapter.tables import table
from powerstrip_weave.errors import NetworkError
from powerstrip_weave.networks.peers import PeerList
from powerstrip_weave.networks.rights import check_rights
from powerstrip_weave.networks.vxlan import VxlanNetwork
from powerstrip_weave.service import DEFAULT_LISTEN

ANSWER_SECONDS = 60.0
"""How long the adapter may take: Weave Net's command is bounded by 30 seconds, and runs twice."""


def main(words: Sequence[str] | None = None) -> None:
    """
    Do what the command line says.

    Raises:
        SystemExit: always where it could not be done, with a sentence or the status 1.
    """
    options = _options(words)
    try:
        adapter = AskedAdapter("weave", options.at, ANSWER_SECONDS)
        if options.command == "status":
            _status(adapter, as_json=options.json)
        elif options.command == "reset":
            _reset(adapter)
        else:
            adapter.ask("POST", f"/{options.command}", {"address": options.address})
    except CommandError as error:
        raise SystemExit(f"powerstrip-weave: {error}") from None


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    at = at_option(DEFAULT_LISTEN)
    parser = argparse.ArgumentParser(
        prog="powerstrip-weave",
        description="How the weave adapter is, and what is done by hand.",
        parents=[at],
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, what: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=what, description=what, parents=[at])

    status = add("status", "containers, peers, and what is wrong, which the status 1 says too")
    status.add_argument("--json", action="store_true", help="as the adapter says it")
    expose = add("expose", "give this host an address on the network")
    hide = add("hide", "take an address of this host's away")
    for command in (expose, hide):
        command.add_argument("address", metavar="CIDR", help="such as 10.255.0.1/8")
    add("reset", "remove all that vxlan has made on this host, once the adapter is stopped")
    return parser.parse_args(words, argparse.Namespace(at=DEFAULT_LISTEN))


def _status(adapter: AskedAdapter, *, as_json: bool) -> None:
    answer = adapter.ask("GET", "/status")
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(status_lines(answer)))
    if _problems(answer):
        raise SystemExit(1)


def status_lines(answer: dict[str, Any]) -> list[str]:
    """
    A status as text: the tables that have rows, and a line for each problem.
    """
    mtu = answer["mtu_bytes"]
    driver = f"{answer['driver']}, MTU {mtu}" if mtu else answer["driver"]
    containers = [
        (each["id"][:12], each["name"] or "?", " ".join(each["addresses"]), _attached(each))
        for each in answer["containers"]
    ]
    stopped = [
        (each["id"][:12], each["name"], _ago(each["seconds_ago"]), each["problem"])
        for each in answer["stopped"]
    ]
    peers = [(each["address"], _ago(each["last_heard_seconds"])) for each in answer["peers"]]
    return [
        *table(("DRIVER", "ENGINE"), [(driver, answer["engine"]["address"])]),
        *table(("PEER", "HEARD"), peers),
        *table(("CONTAINER", "NAME", "ADDRESSES", "ATTACHED"), containers),
        *table(("CONTAINER", "NAME", "STOPPED", "BECAUSE"), stopped),
        *(f"problem: {problem}" for problem in _problems(answer)),
    ]


def _problems(answer: dict[str, Any]) -> list[str]:
    engine = answer["engine"]["problem"]
    return [*answer["problems"], *([engine] if engine else [])]


def _attached(container: dict[str, Any]) -> str:
    return "yes" if container["attached"] else "no"


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s ago"


def _reset(adapter: AskedAdapter) -> None:
    """
    Remove what the driver has made, whoever made it.
    """
    try:
        adapter.ask("GET", "/status")
    except CommandError:
        pass
    else:
        what = "stop it first, since what it has attached would stay cut off"
        raise CommandError(f"the adapter runs, at {adapter.at}: {what}")

    react(_remove_network)


async def _remove_network(reactor: Any) -> None:
    network = VxlanNetwork(reactor, reactor, PeerList())
    try:
        check_rights()
        await network.reset()
        await network.stop()
    except NetworkError as error:
        raise SystemExit(f"powerstrip-weave: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
