"""
A stream goes from one command to another on another node: whole, or not at all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.errors import NoSpaceError, PeerError, StorageError
from powerstrip_flocker.testing import FakeStorage
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from tests.adapters.flocker.peers.line import Line
from tests.adapters.flocker.peers.nodes import Cluster, Node, Shell

# pyOpenSSL's own, of a certificate that Twisted shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

ZEROS = 'echo $$ >"{0}/sender"; exec dd if=/dev/zero bs=64k status=none'
"""Sends without end."""

WAIT_SECONDS = 10.0


class Two:
    """
    Two nodes whose commands a test gives; the second fetches.
    """

    def __init__(self, cluster: Cluster, first: Node, second: Node, directory: Path) -> None:
        self.reactor = cluster.reactor
        self.cluster = cluster
        self.first, self.second = first, second
        self.directory = directory
        self.reports: list[tuple[int, int | None]] = []

    def give(self, send: str, receive: str) -> None:
        self.first.storage.send = send.format(self.directory)
        self.second.storage.receive = receive.format(self.directory)

    def fetch(self) -> Deferred[None]:
        def report(sent: int, expected: int | None) -> None:
            self.reports.append((sent, expected))

        peer = self.second.peer("node1")
        return Deferred.fromCoroutine(peer.fetch(self.claim, "s", None, report))

    async def begin(self) -> Two:
        """
        Have the second node move a dataset of the first.
        """
        entry = await self.first.ledger.create(Record("test1", "5eed", "node1", 1))
        self.claim = await self.second.ledger.claim(entry, "node2")
        return self

    def read(self, name: str) -> bytes:
        path = self.directory / name
        return path.read_bytes() if path.exists() else b""

    async def sleep(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds, lambda: None)

    async def until(self, is_so: Callable[[], object]) -> None:
        deadline = self.reactor.seconds() + WAIT_SECONDS
        while not is_so():
            assert self.reactor.seconds() < deadline, "it does not come to that"
            await self.sleep(0.02)

    def runs(self, name: str) -> bool:
        """
        Whether the process runs that has written its number there.
        """
        number = int(self.read(name))
        try:
            status = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        return status not in "ZX"


@pytest_twisted.async_yield_fixture
async def two(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Two]:
    """
    Two nodes, with TLS.
    """
    first = await cluster.start("node1", Shell(), 1.5)
    second = await cluster.start("node2", Shell(), 1.5)
    yield await Two(cluster, first, second, tmp_path).begin()


@pytest_twisted.async_yield_fixture
async def clear(reactor: Any, tmp_path: Path) -> AsyncIterator[Two]:
    """
    Two nodes, without.
    """
    cluster = Cluster(reactor, None)
    first = await cluster.start("node1", Shell(), 1.5)
    second = await cluster.start("node2", Shell(), 1.5)
    yield await Two(cluster, first, second, tmp_path).begin()
    await cluster.stop()


@pytest.mark.parametrize("size", [1, 5, 65536, 300_001, 5_000_000])
@pytest_twisted.ensureDeferred
async def test_what_is_sent_arrives(two: Two, size: int) -> None:
    """
    All of it, and it is said how much has come.
    """
    content = Random(size).randbytes(size)
    (two.directory / "sent").write_bytes(content)
    two.first.storage.expected_bytes = size
    two.give('cat "{0}/sent"', 'cat >"{0}/received"')
    await two.fetch()
    assert content == two.read("received")
    assert two.reports[0] == (0, size)
    assert two.reports[-1] == (size, size)
    assert sorted(two.reports) == two.reports


@pytest_twisted.ensureDeferred
async def test_an_empty_stream_is_none(two: Two) -> None:
    """
    No file system sends one.
    """
    two.give("exit 0", "cat")
    with pytest.raises(StorageError, match="there was nothing in the stream of test1"):
        await two.fetch()


@pytest_twisted.ensureDeferred
async def test_a_sender_that_is_silent_for_long_lives(two: Two) -> None:
    """
    It is not given up, as its node gives signs of life.
    """
    two.give("echo one; sleep 2.5; echo two", 'cat >"{0}/received"')
    await two.fetch()
    assert two.read("received") == b"one\ntwo\n"


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_takes_long_is_waited_for(two: Two) -> None:
    """
    It holds up the sender, which is read no more; its node is not taken for silent.
    """
    two.give(ZEROS, 'echo $$ >"{0}/receiver"; exec sleep 600')
    fetching = two.fetch()
    await two.until(lambda: two.read("sender") and two.read("receiver"))
    written: list[int] = []
    for _ in range(6):
        await two.sleep(0.5)
        written.append(written_bytes(int(two.read("sender"))))
    assert written[-1] == written[-3]
    assert written[-1] < 32 * 2**20
    assert not fetching.called
    fetching.cancel()
    with pytest.raises(CancelledError):
        await fetching


def written_bytes(number: int) -> int:
    lines = Path(f"/proc/{number}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


@pytest_twisted.ensureDeferred
async def test_what_takes_nothing_for_too_long_is_hung_up_on(two: Two) -> None:
    """
    The sender has ended then: the other host may have lost its power.
    """
    two.first.resource._stall_seconds = 1.0
    two.give(ZEROS, 'echo $$ >"{0}/receiver"; exec sleep 600')
    fetching = two.fetch()
    await two.until(lambda: two.read("sender") and two.read("receiver"))
    await two.until(lambda: not two.runs("sender"))
    fetching.cancel()
    with pytest.raises(CancelledError):
        await fetching


@pytest_twisted.ensureDeferred
async def test_no_space_is_said(two: Two) -> None:
    """
    In the words of the command that receives; the one that sends has ended soon after.
    """
    two.give(ZEROS, "head -c 300000 >/dev/null; echo 'cannot receive: out of space' >&2; exit 1")
    with pytest.raises(NoSpaceError, match=r"^cannot receive: out of space$"):
        await two.fetch()
    await two.until(lambda: not two.runs("sender"))


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_ends_early_has_failed(two: Two) -> None:
    """
    Though it says that it has not.
    """
    two.give(ZEROS, "head -c 300000 >/dev/null")
    with pytest.raises(StorageError, match="the command that receives has ended before its stream"):
        await two.fetch()
    await two.until(lambda: not two.runs("sender"))


@pytest_twisted.ensureDeferred
async def test_a_sender_that_fails_is_said(two: Two) -> None:
    """
    In its own words, and what came of it is not received.
    """
    two.give(
        "head -c 300000 /dev/zero; sleep 0.5; echo 'cannot send: it is gone' >&2; exit 1",
        'echo $$ >"{0}/receiver"; cat >"{0}/partial"; mv "{0}/partial" "{0}/received"',
    )
    with pytest.raises(StorageError, match=r"^cannot send: it is gone$"):
        await two.fetch()
    assert not two.runs("receiver")
    assert not (two.directory / "received").exists()


@pytest_twisted.ensureDeferred
async def test_commands_that_are_not_there_are_said(two: Two) -> None:
    """
    On either side.
    """
    two.give("exec /none/such", "cat")
    with pytest.raises(StorageError, match="/none/such"):
        await two.fetch()
    two.give("echo one", "exec /none/other")
    with pytest.raises(StorageError, match="/none/other"):
        await two.fetch()


@pytest.mark.parametrize("side", ["sender", "receiver"])
@pytest_twisted.ensureDeferred
async def test_a_command_that_is_killed_ends_the_other(two: Two, side: str) -> None:
    """
    And the fetch.
    """
    two.give(ZEROS, 'echo $$ >"{0}/receiver"; exec cat >/dev/null')
    fetching = two.fetch()
    await two.until(lambda: two.read("sender") and two.read("receiver"))
    os.kill(int(two.read(side)), 9)
    with pytest.raises(StorageError):
        await fetching
    assert not two.runs("receiver")
    await two.until(lambda: not two.runs("sender"))


@pytest_twisted.ensureDeferred
async def test_a_fetch_that_is_cancelled_ends_both(two: Two) -> None:
    """
    With all that the commands have started.
    """
    two.give(
        'sleep 600 & echo $! >"{0}/child"; ' + ZEROS,
        'sleep 600 & echo $! >"{0}/other"; echo $$ >"{0}/receiver"; cat >/dev/null',
    )
    fetching = two.fetch()
    await two.until(lambda: two.read("sender") and two.read("receiver"))
    await two.sleep(0.1)
    fetching.cancel()
    with pytest.raises(CancelledError):
        await fetching
    assert not two.runs("receiver")
    assert not two.runs("other")
    await two.until(lambda: not two.runs("sender") and not two.runs("child"))


@pytest_twisted.ensureDeferred
async def test_a_node_that_stops_ends_both(two: Two) -> None:
    """
    Its own command has ended when it has stopped.
    """
    two.give(ZEROS, 'echo $$ >"{0}/receiver"; exec cat >/dev/null')
    fetching = two.fetch()
    await two.until(lambda: two.read("sender") and two.read("receiver"))
    await two.first.port.close()
    assert not two.runs("sender")
    with pytest.raises(PeerError, match=r"node1 at 127\.0\.0\.1:\d+: the stream was cut"):
        await fetching
    assert not two.runs("receiver")


@pytest_twisted.ensureDeferred
async def test_a_line_that_falls_silent_is_given_up(two: Two) -> None:
    """
    In the middle of a stream; the command that receives is dead.
    """

    def change(at: int, data: bytes) -> bytes:
        return data if at < 1_000_000 else b""

    line = Line(two.reactor, int(two.first.port.address.rpartition(":")[2]), change)
    two.cluster.nodes.addresses["node1"] = line.open()
    two.give(ZEROS, 'echo $$ >"{0}/receiver"; exec cat >/dev/null')
    try:
        with pytest.raises(PeerError, match=r"it has given no sign of life for 1\.5 s"):
            await two.fetch()
        assert not two.runs("receiver")
    finally:
        await line.close()
    await two.until(lambda: not two.runs("sender"))


SENT = b"".join(hashlib.sha256(bytes([it])).digest() for it in range(200)) * 100
"""640000 bytes."""

WHOLE = 'cat >"{0}/partial"; mv "{0}/partial" "{0}/received"'
"""Takes the end of its input for the end of the stream."""


@pytest.mark.parametrize("how", ["cut", "spoilt"])
@pytest.mark.parametrize("seed", range(25))
@pytest_twisted.ensureDeferred
async def test_a_stream_that_is_cut_or_spoilt_is_not_received(
    clear: Two, how: str, seed: int
) -> None:
    """
    At any byte, also of what goes around the stream. Its command never sees an end of its input.
    """
    (clear.directory / "sent").write_bytes(SENT)
    at = Random(seed).randrange(160, len(SENT) + 100)
    if seed < 3:
        at = len(SENT) + 200 + seed  # about the last bytes of it

    def change(before: int, data: bytes) -> bytes | None:
        if not before <= at < before + len(data):
            return None if how == "cut" and at < before else data
        index = at - before
        if how == "cut":
            clear.reactor.callLater(0, line.cut)
            return data[:index]
        return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]

    line = Line(clear.reactor, int(clear.first.port.address.rpartition(":")[2]), change)
    clear.cluster.nodes.addresses["node1"] = line.open()
    clear.give('cat "{0}/sent"', WHOLE)
    try:
        with pytest.raises(PeerError):
            await clear.fetch()
    finally:
        await line.close()
    assert not (clear.directory / "received").exists()


@pytest_twisted.ensureDeferred
async def test_a_move_whose_stream_is_cut_leaves_the_replica(cluster: Cluster) -> None:
    """
    As it was, at any byte; the next move goes on from it.
    """
    first = await cluster.start("node1", FakeStorage())
    second = await cluster.start("node2", FakeStorage())
    await first.mover.have(["test1"])
    first.storage.write("test1", "file", b"one")
    await second.mover.bring(["test1"])
    await first.mover.bring(["test1"])
    first.storage.write("test1", "file", b"two" * 10_000)
    limit = 0

    def change(before: int, data: bytes) -> bytes | None:
        return None if before + len(data) > limit else data

    to_port = int(first.port.address.rpartition(":")[2])
    direct = cluster.nodes.addresses["node1"]
    claim = await second.ledger.claim(await entry_of(second), "node2")
    *_, base, newest = await second.peer("node1").prepare(claim)
    random = Random(7)
    for _ in range(25):
        limit = random.randrange(1000, 30_000)
        line = Line(cluster.reactor, to_port, change)
        cluster.nodes.addresses["node1"] = line.open()
        with pytest.raises(PeerError):
            await second.peer("node1").fetch(claim, newest.name, base.name, lambda *_: None)
        await line.close()
        await second.storage.forget_partial("test1")
        assert second.storage.read("test1") == {"file": b"one"}
        assert base == (await second.storage.snapshots("test1"))[-1]
    cluster.nodes.addresses["node1"] = direct
    await second.peer("node1").fetch(claim, newest.name, base.name, lambda *_: None)
    assert second.storage.read("test1") == {"file": b"two" * 10_000}


async def entry_of(node: Node) -> Any:
    return await node.ledger.get("test1")
