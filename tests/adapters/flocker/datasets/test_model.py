"""
Whatever fails between any two calls of any nodes, no data is lost, and nobody writes twice.

Hypothesis makes up what containers, operators, crashes and the network do, and in which order the
calls of all nodes happen: each call to a storage, the ledger or a peer is held until it lets it go.
`POWERSTRIP_MODEL_EXAMPLES` and `POWERSTRIP_MODEL_STEPS` make it look deeper; how many calls were
ordered is printed at the end (``-s``).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.adapters.flocker.datasets.cluster import Cluster, Fate, Host

EXAMPLES = int(os.environ.get("POWERSTRIP_MODEL_EXAMPLES", "100"))
STEPS = int(os.environ.get("POWERSTRIP_MODEL_STEPS", "60"))

HOSTS = ("n1", "n2", "n3")
NAMES = ("a", "b")

COUNTS: Counter[str] = Counter()
"""What has been run, over all examples."""

hosts = st.sampled_from(HOSTS)
names = st.sampled_from(NAMES)
picks = st.integers(0, 7)

ARGUMENTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "start_container": {"host": hosts, "wanted": st.sampled_from([("a",), ("b",), ("a", "b")])},
    "stop_container": {"host": hosts, "name": names},
    "write": {"host": hosts, "name": names},
    "promote": {"host": hosts, "name": names},
    "crash": {"host": hosts, "power": st.booleans()},
    "start": {"host": hosts},
    "cut": {"one": hosts, "other": st.sampled_from([*HOSTS, "ledger"])},
    "heal": {},
    "wait": {"seconds": st.sampled_from([1, 1, 2, 11])},
    "deliver": {},
    "go_on": {"picked": st.lists(picks, min_size=1, max_size=12)},
    "go_on_in_order": {"calls": st.integers(1, 60)},
    "reach": {
        "what": st.sampled_from(["commit", "peer.fence", "stream", "release", "done", "answered"]),
        "fate": st.sampled_from(Fate),
        "then_crash": st.booleans(),
    },
    "lose": {
        "pick": picks,
        "fate": st.sampled_from([Fate.LOST, Fate.UNANSWERED, Fate.LATE]),
    },
}
"""What can happen, and what has to be made up for it."""

OFTEN = {"start_container": 4, "stop_container": 4, "write": 3, "start": 4, "wait": 2}
OFTEN |= {"heal": 2, "go_on": 5, "go_on_in_order": 4, "reach": 5}
OPTIONAL = ARGUMENTS.keys() - {"start_container", "go_on", "go_on_in_order"}
ACTIONS = [name for name in ARGUMENTS for _ in range(OFTEN.get(name, 1))]


class Model(RuleBasedStateMachine):
    """
    Three nodes, two datasets, and all that can go wrong.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(names=HOSTS)
        self.acknowledged: dict[str, bytes] = {}
        """What was last written to each dataset."""
        self.promoting: dict[str, tuple[str, str]] = {}
        """By dataset: who promotes itself, over which dead owner."""
        self.without_power: set[str] = set()
        self.written = 0
        self.absent: set[str] = set()
        """What does not happen in this example: so that other things happen more often."""

    @initialize(absent=st.sets(st.sampled_from(sorted(OPTIONAL)), max_size=8))
    def begin(self, absent: set[str]) -> None:
        """
        One dataset there is, and has been on two nodes.
        """
        self.absent = absent
        self.cluster.start()
        for host in ("n1", "n2"):
            self.cluster.hosts[host].bring("a")
            self.write(host, "a")
            self.cluster.stop_containers()
        self.cluster.is_stepped = True
        COUNTS["examples"] += 1

    def teardown(self) -> None:
        """
        Once all is well again, each dataset has one owner, and can be had on each node.
        """
        if not self.cluster.is_stepped:
            return
        self.cluster.heal()
        for _ in range(30):  # a dead owner stays away until the promotion has ended
            self.cluster.run_dry()
            self.cluster.advance(1)
        self.cluster.recover()
        self.cluster.stop_containers()
        self.check()
        COUNTS["commits"] += sum(it.record.generation for it in self.cluster.store.entries.values())
        for name in self.existing():
            if self.cluster.store.entries[name].record.generation > 0:
                assert [self.cluster.owner(name)] == self.cluster.writable(name)
            else:  # its record came late, and its owner hears of it when somebody asks
                self.cluster.hosts["n1"].bring(name)
                self.cluster.run_dry()
                self.cluster.stop_containers()
            for host in HOSTS:
                self.cluster.hosts[host].bring(name)
                self.cluster.run_dry()
                self.cluster.stop_containers()
                self.check()
                assert [host] == self.cluster.writable(name), (host, name)
        for it in self.cluster.hosts.values():
            it.crash()

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        """
        One rule for all: Hypothesis would leave out some rules from each example, and with most
        of them missing nothing moves.
        """
        name = data.draw(st.sampled_from(ACTIONS))
        arguments = {it: data.draw(strategy) for it, strategy in ARGUMENTS[name].items()}
        COUNTS["actions"] += 1
        if name not in self.absent:
            getattr(self, name)(**arguments)

    # What people and containers do

    def start_container(self, host: str, wanted: tuple[str, ...]) -> None:
        it = self.cluster.hosts[host]
        if it.process is not None and it.process.is_ready:
            it.bring(*wanted)

    def stop_container(self, host: str, name: str) -> None:
        self.cluster.hosts[host].storage.busy.discard(name)

    def write(self, host: str, name: str) -> None:
        if name in self.cluster.hosts[host].storage.busy:
            self.written += 1
            self.acknowledged[name] = b"%d" % self.written
            self.cluster.write(host, name, self.acknowledged[name])

    def promote(self, host: str, name: str) -> None:
        """
        The operator keeps their word: the owner has no power, nor gets it before this has ended.
        """
        process = self.cluster.hosts[host].process
        entry = self.cluster.store.entries.get(name)
        if process is None or not process.is_ready or entry is None or name in self.promoting:
            return
        owner = entry.record.owner
        if owner in self.without_power and self.cluster.hosts[owner].process is None:
            COUNTS["promotions"] += 1
            self.promoting[name] = (host, owner)
            process.run(process.mover.promote(name)).addCallback(
                lambda _: self.ended_promotion(name)
            )

    def ended_promotion(self, name: str) -> None:
        if name not in self.cluster.store.claims():
            self.notice_promotions()
            self.promoting.pop(name, None)

    # What fails

    def crash(self, host: str, power: bool) -> None:
        COUNTS["crashes"] += 1
        self.cluster.hosts[host].crash(power)
        if power:
            self.without_power.add(host)

    def start(self, host: str) -> None:
        it = self.cluster.hosts[host]
        for name, (_, owner) in list(self.promoting.items()):
            if owner == host and name in self.cluster.store.claims():
                return
        if it.process is None and not self.is_forsaken(host):
            self.without_power.discard(host)
            it.start()

    def is_forsaken(self, host: str) -> bool:
        return any(owner == host for _, owner in self.promoting.values())

    def cut(self, one: str, other: str) -> None:
        if one != other:
            COUNTS["partitions"] += 1
            self.cluster.cut(one, other)

    def heal(self) -> None:
        self.cluster.heal()

    def wait(self, seconds: int) -> None:
        self.cluster.advance(seconds)

    def deliver(self) -> None:
        COUNTS["late deliveries"] += 1
        self.cluster.deliver()

    # In which order calls happen

    def let(self, pick: int, fate: Fate = Fate.GOES) -> None:
        held = self.cluster.held
        if held:
            COUNTS["calls"] += 1
            self.cluster.let(held[pick % len(held)], fate)
            self.check()

    def go_on(self, picked: list[int]) -> None:
        for pick in picked:
            self.let(pick)

    def go_on_in_order(self, calls: int) -> None:
        for _ in range(calls):
            self.let(0)

    def reach(self, what: str, fate: Fate, then_crash: bool) -> None:
        """
        Go on until a step that matters is about to be taken, and have something happen to it.
        """
        for _ in range(80):
            found = next((it for it in self.cluster.held if it.what.endswith(what)), None)
            if found is not None:
                COUNTS[f"{what} {fate.value}"] += 1
                self.cluster.let(found, fate)
                self.check()
                if then_crash and not found.process.is_dead:
                    self.crash(found.process.host.name, False)
                return
            self.let(0)

    def lose(self, pick: int, fate: Fate) -> None:
        COUNTS["lost calls"] += 1
        self.let(pick, fate)

    # What holds

    def existing(self) -> Iterator[str]:
        return iter(sorted(self.cluster.store.entries))

    def notice_promotions(self) -> None:
        """
        What a promoted replica has is the dataset from then on.
        """
        for name, (host, _) in list(self.promoting.items()):
            if self.cluster.owner(name) == host:
                self.take_content(name, self.cluster.hosts[host])
                del self.promoting[name]

    def take_content(self, name: str, host: Host) -> None:
        content = host.content(name)
        self.acknowledged.pop(name, None)
        if content is not None:
            self.acknowledged[name] = content

    @invariant()
    def check(self) -> None:
        COUNTS["checks"] += 1
        self.notice_promotions()
        for name in NAMES:
            writable = self.cluster.writable(name)
            assert len(writable) <= 1, writable
        for name, entry in self.cluster.store.entries.items():
            owner = self.cluster.hosts[entry.record.owner]
            if entry.record.generation > 0:
                assert self.acknowledged.get(name) == owner.content(name)
            for host in self.cluster.hosts.values():
                if name in host.storage.busy:
                    assert host is owner, f"a container on {host.name} uses {name}"
                    assert host.writable(name)


@pytest.fixture
def _counted() -> Iterator[None]:
    COUNTS.clear()
    yield
    print("\nmodel:", ", ".join(f"{n} {what}" for what, n in sorted(COUNTS.items())))


@pytest.mark.usefixtures("_counted")
def test_no_data_is_lost_and_nobody_writes_twice() -> None:
    """
    At most one copy is writable, the owner's has all that was acknowledged; healed, all goes on.
    """
    quiet: Any = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=quiet,
        ),
    )
    assert COUNTS["calls"] > EXAMPLES
