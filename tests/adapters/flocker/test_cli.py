"""
The command ``powerstrip-flocker``, against nodes in memory that listen on sockets.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import frozen
from powerstrip_flocker import cli
from powerstrip_flocker.cli import main
from powerstrip_flocker.datasets.steps import Step
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUNIX
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.server import Site

from powerstrip.adapter.asking import AskedAdapter
from tests.adapters.flocker.operated import Operated

COMMAND = Path(sys.executable).parent / "powerstrip-flocker"


@frozen
class Outcome:
    """
    How the command ended.
    """

    status: int
    output: str
    sentence: str | None = None
    """What it ended with, if so."""


class Nodes(Operated):
    """
    Nodes that listen.
    """

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__()
        self._directory = directory
        self._capsys = capsys
        unix = cast(IReactorUNIX, reactor)
        self.ports: list[IListeningPort] = [
            unix.listenUNIX(f"{directory}/{name}.sock", cast(Any, Site(self.resource(name))))
            for name in ("n1", "n2")
        ]

    def at(self, node: str) -> str:
        return f"unix://{self._directory}/{node}.sock"

    async def do(self, node: str, *words: str) -> Outcome:
        """
        Run the command, which blocks, beside the node that it asks.
        """

        def run() -> int | str | None:
            try:
                main(["--at", self.at(node), *words])
            except SystemExit as end:
                return end.code
            return 0

        code = await deferToThread(run)
        output = self._capsys.readouterr().out
        return Outcome(code, output) if isinstance(code, int) else Outcome(1, output, code)


@pytest_twisted.async_yield_fixture
async def nodes(short_tmp: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Nodes]:
    """
    Two nodes, the first of which has data.
    """
    nodes = Nodes(short_tmp, capsys)
    yield nodes
    for port in nodes.ports:
        await maybeDeferred(port.stopListening)


def says(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """
    Have somebody say something when the command asks.
    """
    monkeypatch.setattr(sys, "stdin", StringIO(text))


def without_times(text: str) -> str:
    return re.sub(r"\([^)]* ago\)", "(ago)", text)


@pytest_twisted.ensureDeferred
async def test_list_shows_what_is_where(nodes: Nodes) -> None:
    """
    One line for each dataset of the cluster: who owns it, and what this node has.
    """
    nodes.host("n1").bring("only", "a-long-name")
    nodes.move("data", "n2")
    assert await nodes.do("n1", "list") == Outcome(
        0,
        "NAME          OWNER   SIZE   HERE       REPLICAS\n"
        "a-long-name   n1      0 B    writable   -\n"
        "data          n2      5 B    replica    n1\n"
        "only          n1      0 B    writable   -\n",
    )
    assert await nodes.do("n2", "list") == Outcome(
        0,
        "NAME          OWNER   SIZE   HERE       REPLICAS\n"
        "a-long-name   n1      -      -          -\n"
        "data          n2      5 B    writable   n1\n"
        "only          n1      -      -          -\n",
    )


@pytest_twisted.ensureDeferred
async def test_an_empty_list_has_a_head(nodes: Nodes) -> None:
    """
    So that it can be told from nothing at all.
    """
    nodes.cluster.store.entries.clear()
    nodes.host("n1").storage._datasets.clear()
    assert await nodes.do("n1", "list") == Outcome(0, "NAME   OWNER   SIZE   HERE   REPLICAS\n")


@pytest_twisted.ensureDeferred
async def test_inspect_is_json(nodes: Nodes) -> None:
    """
    As the adapter says it.
    """
    shown = await nodes.do("n1", "inspect", "data")
    assert json.loads(shown.output) == await nodes.get("n1", "/datasets/data")


@pytest_twisted.ensureDeferred
async def test_snapshots_have_their_time(nodes: Nodes) -> None:
    """
    When they were taken, as a date and about how long ago.
    """
    await nodes.host("n1").storage.snapshot("data", "mine")
    shown = await nodes.do("n1", "snapshots", "data")
    identity = nodes.host("n1").storage._datasets["data"].taken[0].snapshot.identity
    assert without_times(shown.output).splitlines()[1:] == [
        f"mine       2023-11-14 22:13:21 UTC (ago)   {identity}"
    ]


@pytest_twisted.ensureDeferred
async def test_status_shows_all_of_it(nodes: Nodes) -> None:
    """
    Tables of what there is, and the status 0 where nothing is wrong.
    """
    nodes.host("n1").storage.free_bytes = 2**30
    shown = await nodes.do("n1", "status")
    assert shown == Outcome(
        0,
        "NODE   STORAGE        FREE\n"
        "n1     fake:flocker   1.0 GiB\n"
        "\n"
        "NODES   ADDRESS\n"
        "n1      192.0.2.1:4523\n"
        "n2      192.0.2.2:4523\n"
        "\n"
        "NAME   OWNER   SIZE   HERE       REPLICAS\n"
        "data   n1      5 B    writable   -\n"
        "\n",
    )


@pytest_twisted.ensureDeferred
async def test_status_shows_what_is_wrong(nodes: Nodes) -> None:
    """
    A line for each problem, and the status 1; also as JSON.
    """
    nodes.host("n1").storage._datasets.clear()
    nodes.cluster.cut("n2", "ledger")
    shown = await nodes.do("n1", "status")
    assert shown.status == 1
    assert shown.output.endswith("problem: n1 owns data, but its storage does not have it\n")
    assert (await nodes.do("n1", "status", "--json")).status == 1
    parted = await nodes.do("n2", "status")
    assert parted.status == 1
    assert parted.output.endswith("problem: the fake ledger can't be reached\n")


@pytest_twisted.ensureDeferred
async def test_status_is_json_for_programs(nodes: Nodes) -> None:
    """
    As the adapter says it.
    """
    shown = await nodes.do("n1", "status", "--json")
    assert json.loads(shown.output) == await nodes.get("n1", "/status")


@pytest_twisted.ensureDeferred
async def test_status_watches_moves(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Until it is interrupted.
    """
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli, "sleep", sleep)
    nodes.gates[Step.VERIFY] = Deferred()
    nodes.host("n2").bring("data")
    watched = await nodes.do("n2", "status", "--watch")
    nodes.gates.pop(Step.VERIFY).callback(None)
    assert watched.status == 130
    last = watched.output.splitlines()[-1]
    assert re.fullmatch(r"data: n1 -> n2, phase 1 of 2: \d+ B of about \d+ B, 0 B/s", last)


@pytest.mark.parametrize("asked", ["n1", "n2"])
@pytest_twisted.ensureDeferred
async def test_a_dataset_is_moved(nodes: Nodes, asked: str) -> None:
    """
    By whichever node; that it is there is said.
    """
    assert await nodes.do(asked, "move", "data", "--to", "n2") == Outcome(0, "data is on n2\n")
    assert nodes.cluster.writable("data") == ["n2"]


@pytest.mark.parametrize(
    ("asked", "line"),
    [("n2", r"data: n1 -> n2, phase 1 of 2: .*"), ("n1", r"data: n1 -> n2, under way")],
)
@pytest_twisted.ensureDeferred
async def test_a_move_is_shown_while_it_goes_on(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, asked: str, line: str
) -> None:
    """
    As far as the node that is asked knows.
    """
    monkeypatch.setattr(cli, "LOOK_SECONDS", 0.01)
    gate = nodes.gates[Step.VERIFY] = Deferred()

    def show(self: cli.Screen, moves: list[Any]) -> None:
        shown(self, moves)
        if moves and nodes.gates:
            nodes.gates.clear()
            cast(Any, reactor).callFromThread(gate.callback, None)

    shown = cli.Screen.show
    monkeypatch.setattr(cli.Screen, "show", show)
    moved = await nodes.do(asked, "move", "data", "--to", "n2")
    first, *_, last = moved.output.splitlines()
    assert re.fullmatch(line, first)
    assert last == "data is on n2"


@pytest_twisted.ensureDeferred
async def test_a_move_that_is_interrupted_says_where_to_look(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whether it goes on depends on which node was asked.
    """

    def interrupt(self: cli.Screen, moves: list[Any]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(cli.Screen, "show", interrupt)
    nodes.gates[Step.SEND] = Deferred()
    interrupted = await nodes.do("n2", "move", "data", "--to", "n2")
    assert interrupted.sentence == (
        "powerstrip-flocker: the move of data is not waited for: "
        "status tells whether it goes on, list where it is"
    )


@pytest_twisted.ensureDeferred
async def test_a_move_that_nobody_waits_for_is_given_up(nodes: Nodes) -> None:
    """
    Ctrl-C leaves the dataset where it was, and writable there.
    """
    nodes.gates[Step.SEND] = Deferred()
    adapter = AskedAdapter("flocker", nodes.at("n2"), 60)
    question = await deferToThread(adapter.begin, "POST", "/datasets/data/move", {"to": "n2"})
    while not (await nodes.get("n1", "/moves"))["moves"]:
        await deferLater(cast(IReactorTime, reactor), 0.01)
    question.close()
    while (await nodes.get("n1", "/moves"))["moves"]:
        await deferLater(cast(IReactorTime, reactor), 0.01)
    assert nodes.cluster.writable("data") == ["n1"]
    assert nodes.cluster.owner("data") == "n1"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("move", "data", "--to", "n2"), "data is used by container-of-n1 on n1"),
        (("move", "data", "--to", "n9"), "there is no node n9, but n1, n2"),
        (("inspect", "none"), "there is no dataset none"),
        (("destroy", "data", "--yes"), "data is used by container-of-n1 on n1"),
        (("promote", "data", "--yes"), "n1 owns data already"),
        (
            ("inspect", "a/b"),
            (
                "'a/b' can't be the name of a dataset: "
                "it may have letters of ASCII, digits, '.', '_' and '-' only"
            ),
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_refused_is_told(nodes: Nodes, words: tuple[str, ...], sentence: str) -> None:
    """
    In the adapter's words, and nothing changes.
    """
    nodes.host("n1").bring("data")
    assert await nodes.do("n1", *words) == Outcome(1, "", f"powerstrip-flocker: {sentence}")
    assert nodes.cluster.writable("data") == ["n1"]


@pytest_twisted.ensureDeferred
async def test_destroy_asks_first(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It says what there is to lose; who says nothing loses nothing.
    """
    nodes.move("data", "n2")
    for answer in ("", "\n", "n\n", "maybe\n"):
        says(monkeypatch, answer)
        kept = await nodes.do("n2", "destroy", "data")
        assert kept.sentence == "powerstrip-flocker: nothing was done"
        assert kept.output == "Remove data of n2, 5 B, with its replicas on n1, for good? [y/N] "
    assert nodes.cluster.writable("data") == ["n2"]

    says(monkeypatch, "y\n")
    assert (await nodes.do("n2", "destroy", "data")).output.endswith("data is removed\n")
    assert nodes.cluster.store.entries == {}


@pytest_twisted.ensureDeferred
async def test_destroy_asks_for_what_no_record_speaks_of(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It says where it is: what other nodes may have is not meant.
    """
    nodes.move("data", "n2")
    nodes.cluster.store.entries.clear()
    says(monkeypatch, "y\n")
    done = await nodes.do("n1", "destroy", "data")
    assert done.output == "Remove data of nobody on n1, 5 B, for good? [y/N] data is removed\n"
    assert nodes.host("n2").content("data") == b"hello"


@pytest_twisted.ensureDeferred
async def test_promote_says_what_is_lost_and_asks(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The time of the newest replica is told before, and after.
    """
    nodes.move("data", "n2")
    nodes.move("data", "n1")
    nodes.host("n1").crash(power=True)
    before = (
        "data belongs to n1. The newest that n2 has of it is of 2023-11-14 22:13:22 UTC (ago): "
        "what was written since is lost, also on n1, should that node come back.\n"
    )
    asked = "Is n1 gone for good, and is n2 to own it? [y/N] "

    says(monkeypatch, "no\n")
    kept = await nodes.do("n2", "promote", "data")
    assert (without_times(kept.output), kept.status) == (before + asked, 1)
    assert nodes.cluster.owner("data") == "n1"

    says(monkeypatch, "yes\n")
    done = await nodes.do("n2", "promote", "data")
    after = "data belongs to n2, as of 2023-11-14 22:13:22 UTC (ago)\n"
    assert without_times(done.output) == before + asked + after
    assert nodes.cluster.writable("data") == ["n2"]


@pytest_twisted.ensureDeferred
async def test_promote_without_a_replica_is_refused(nodes: Nodes) -> None:
    """
    Nobody is asked: there is nothing to promote.
    """
    nodes.host("n1").crash()
    refused = await nodes.do("n2", "promote", "data")
    assert refused == Outcome(1, "", "powerstrip-flocker: n2 has no replica of data")


def test_an_adapter_that_can_not_be_reached_is_named() -> None:
    """
    Behind the command the address counts as well.
    """
    with pytest.raises(SystemExit) as end:
        main(["list", "--at", "unix:///nowhere"])
    assert end.value.code == (
        "powerstrip-flocker: the adapter at unix:///nowhere can't be reached: "
        "No such file or directory"
    )


def test_the_command_is_installed() -> None:
    """
    With the package, as a program of its own.
    """
    command = [str(COMMAND), "list", "--at", "unix:///nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("powerstrip-flocker: the adapter at unix:///nowhere can't be")


def test_keys_are_made_without_an_adapter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A folder for each node; those that are there are not written over.
    """
    main(["keys", str(tmp_path), "n1", "n2"])
    assert capsys.readouterr().out.splitlines()[0] == f"n1: {tmp_path}/n1/ca.pem cert.pem key.pem"
    made = {str(it.relative_to(tmp_path)) for it in tmp_path.rglob("*.pem")}
    assert {"ca.pem", "ca-key.pem", "n1/ca.pem", "n1/cert.pem", "n2/key.pem"} <= made

    with pytest.raises(SystemExit, match=r"powerstrip-flocker: .*n1 is there already"):
        main(["keys", str(tmp_path), "n1"])
