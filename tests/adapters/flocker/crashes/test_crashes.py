"""
Moves between two nodes, each broken at one step in one way.

Afterwards there is one owner, what was committed is there, and no two copies were ever writable.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import pytest
from attrs import define, field, frozen
from powerstrip_flocker.datasets.steps import Step

from demo.engine import why_not
from tests.adapters.flocker.crashes.gate import Asked
from tests.adapters.flocker.crashes.rig import NODES, Rig, kill_commands, until
from tests.adapters.flocker.crashes.stepping import CLAIM_SECONDS
from tests.adapters.flocker.storage.pools import why_no_btrfs, why_no_zfs

RIGS = Path("/tmp/powerstrip-crashes")
RIGS_AT_ONCE = 3

KINDS = ("zfs", "btrfs")

OLD, NEW = NODES
BEFORE, DURING = "written before the move\n" * 40_000, "written after phase one\n" * 40_000

_numbers = itertools.count(1)


def old_side(rig: Rig) -> Callable[[], None]:
    rig.nodes[OLD].kill_program("flocker")
    return lambda: rig.start(OLD)


def new_side(rig: Rig) -> Callable[[], None]:
    rig.nodes[NEW].kill_program("flocker")
    return lambda: rig.start(NEW)


def etcd(rig: Rig) -> Callable[[], None]:
    rig.master.kill_program("etcd")
    return rig.master.start_etcd


def cable_between(rig: Rig) -> Callable[[], None]:
    rig.cut()
    return rig.heal


def cable_of_new_side(rig: Rig) -> Callable[[], None]:
    rig.isolate(NEW)
    return rig.heal


def cable_of_old_side(rig: Rig) -> Callable[[], None]:
    rig.isolate(OLD)
    return rig.heal


def new_side_sleeps(rig: Rig) -> Callable[[], None]:
    return sleep(rig, NEW)


def old_side_sleeps(rig: Rig) -> Callable[[], None]:
    return sleep(rig, OLD)


def sleep(rig: Rig, host: str) -> Callable[[], None]:
    """
    Have a node do nothing for longer than claims last, as one whose machine is suspended.
    """
    pid = rig.nodes[host].program_pid("flocker")
    os.kill(pid, signal.SIGSTOP)
    waking = threading.Timer(2 * CLAIM_SECONDS, os.kill, [pid, signal.SIGCONT])
    waking.start()
    return waking.join


def send(rig: Rig) -> Callable[[], None]:
    return kill_soon(rig, OLD, "send")


def receive(rig: Rig) -> Callable[[], None]:
    return kill_soon(rig, NEW, "receive")


def kill_soon(rig: Rig, host: str, word: str) -> Callable[[], None]:
    """
    Kill a command as soon as it runs.
    """
    pid = rig.nodes[host].program_pid("flocker")
    is_over = threading.Event()

    def hunt() -> None:
        while not is_over.is_set() and not kill_commands(pid, word):
            time.sleep(0.001)

    hunter = threading.Thread(target=hunt)
    hunter.start()

    def stop() -> None:
        is_over.set()
        hunter.join()

    return stop


Break = Callable[[Rig], Callable[[], None]]
"""Breaks something, and returns what mends it."""

BREAKS: tuple[Break, ...] = (
    old_side,
    new_side,
    etcd,
    cable_between,
    cable_of_new_side,
    cable_of_old_side,
    new_side_sleeps,
    old_side_sleeps,
)
COMMANDS: tuple[Break, ...] = (send, receive)


@frozen
class Point:
    """
    One way to break a move.
    """

    kind: str
    step: Step
    broken: Break

    def __str__(self) -> str:
        return f"{self.kind}-{self.step.value}-{self.broken.__name__}"


def all_points() -> list[Point]:
    points = itertools.product(KINDS, Step, BREAKS)
    commands = itertools.product(KINDS, (Step.SEND, Step.SEND_REST), COMMANDS)
    return [Point(*it) for it in (*points, *commands)]


def chosen_points() -> list[Point]:
    """
    All of them where ``POWERSTRIP_ALL_CRASHES`` is set, which takes some minutes.

    Otherwise each program and the cable between the nodes at each step with ZFS, what takes long
    at steps at which it matters, and with btrfs what its own commands have a part in.
    """
    if os.environ.get("POWERSTRIP_ALL_CRASHES"):
        return all_points()
    some = {
        cable_of_new_side: {Step.SEND_REST, Step.COMMIT},
        cable_of_old_side: {Step.FENCE, Step.COMMIT},
        new_side_sleeps: {Step.VERIFY, Step.COMMIT},
        old_side_sleeps: {Step.LAST_SNAPSHOT},
    }
    storage = {Step.SEND, Step.FENCE, Step.SEND_REST, Step.WRITABLE}
    return [
        point
        for point in all_points()
        if point.step in some.get(point.broken, Step)
        and (
            point.kind == "zfs"
            or (point.step in storage and point.broken in (old_side, new_side, *COMMANDS))
        )
    ]


@define
class Try:
    """
    One move that is broken at a point, on a rig.
    """

    rig: Rig
    point: Point
    name: str = field(factory=lambda: f"crash-{next(_numbers)}")
    reached: threading.Event = field(factory=threading.Event)
    wrote_during: bool = False
    two_open: bool = False
    broken: Future[Callable[[], None]] = field(factory=Future)
    """What mends it, once it is broken."""

    def run(self) -> str:
        """
        Returns:
            Who owned the dataset when all had settled.
        """
        old, new = self.rig.nodes[OLD], self.rig.nodes[NEW]
        self.rig.arrived = self._arrived
        made = old.ask("POST", "/flocker-adapter", hook(self.name))
        assert made.status == 200, made
        old.write(self.name, "before", BEFORE)
        try:
            moved = new.ask("POST", f"/datasets/{self.name}/move", {"to": NEW})
        finally:
            self.rig.arrived = lambda asked: None
            if self.reached.is_set():
                self.broken.result()()
        assert self.reached.is_set(), f"the move never came to this step: {moved}"
        until(self._is_settled, f"one owner of {self.name} that can write it")
        owner = self.rig.owner(self.name)
        assert owner is not None
        self._check(owner)
        # Whatever has happened, the dataset is no less movable for it.
        until(lambda: self._moves(NEW), f"{self.name} moves to {NEW}")
        self._check(NEW)
        assert not self.two_open, f"both copies of {self.name} could be written"
        gone = new.ask("DELETE", f"/datasets/{self.name}")
        assert gone.status == 200, gone
        return owner

    def _arrived(self, asked: Asked) -> None:
        if asked.name != self.name:
            return
        if asked.step == Step.FENCE.value and not self.wrote_during:
            self.rig.nodes[OLD].write(self.name, "during", DURING)
            self.wrote_during = True
        self._look()
        if asked.step == self.point.step.value and not self.reached.is_set():
            self.reached.set()
            self.broken.set_result(self.point.broken(self.rig))

    def _look(self) -> bool:
        """
        Look whether a copy can be written, and that the other can't.
        """
        old, new = self.rig.nodes[OLD], self.rig.nodes[NEW]
        are_open = old.is_open(self.name), new.is_open(self.name)
        # The one may have been closed before the other was opened.
        self.two_open = self.two_open or (all(are_open) and old.is_open(self.name))
        return any(are_open)

    def _is_settled(self) -> bool:
        owner = self.rig.owner(self.name)
        return self._look() and owner is not None and self.rig.nodes[owner].is_open(self.name)

    def _check(self, owner: str) -> None:
        node = self.rig.nodes[owner]
        assert node.has(self.name, "before", BEFORE)
        assert not self.wrote_during or node.has(self.name, "during", DURING)

    def _moves(self, to: str) -> bool:
        answer = self.rig.nodes[to].ask("POST", f"/datasets/{self.name}/move", {"to": to})
        return answer.status == 200


def hook(name: str) -> dict[str, object]:
    """
    What Powerstrip says of a container that is about to be created.
    """
    body = json.dumps({"HostConfig": {"Binds": [f"/flocker/{name}:/data"]}})
    request = {"Method": "POST", "Request": "/containers/create", "Body": body}
    return {"PowerstripProtocolVersion": 1, "Type": "pre-hook", "ClientRequest": request}


@pytest.fixture(scope="module")
def broken_moves(request: pytest.FixtureRequest) -> dict[str, str | BaseException]:
    """
    What came of each selected point: the owner, or what was wrong. Rigs take them in turns.
    """
    reason = why_not() or why_no_zfs() or why_no_btrfs()
    if reason is not None:
        pytest.skip(reason)
    points = [
        item.callspec.params["point"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "broken_moves" in item.fixturenames
    ]
    found: dict[str, str | BaseException] = {}
    with ExitStack() as stack:
        RIGS.mkdir(exist_ok=True)
        rigs: dict[str, SimpleQueue[Rig]] = {}
        for kind in {point.kind for point in points}:
            rigs[kind] = SimpleQueue()
            for number in range(RIGS_AT_ONCE):
                name = f"{os.getpid()}{kind[0]}{number}"
                rigs[kind].put(stack.enter_context(Rig(RIGS, name, kind)))

        def take(point: Point) -> None:
            rig = rigs[point.kind].get()
            try:
                found[str(point)] = Try(rig, point).run()
            except BaseException as error:
                error.add_note(rig.logs())
                found[str(point)] = error
            finally:
                rigs[point.kind].put(rig)

        with ThreadPoolExecutor(RIGS_AT_ONCE) as pool:
            list(pool.map(take, points))
    return found


@pytest.mark.parametrize("point", chosen_points(), ids=str)
def test_broken_move_leaves_one_owner_with_all_data(
    point: Point, broken_moves: dict[str, str | BaseException]
) -> None:
    """
    Whatever breaks at whichever step, one node owns the dataset and has what was written.
    """
    outcome = broken_moves[str(point)]
    if isinstance(outcome, BaseException):
        raise outcome
    assert outcome in NODES
