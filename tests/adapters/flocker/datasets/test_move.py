"""
A dataset moves whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from powerstrip_flocker.datasets.steps import At, Step, go_on
from powerstrip_flocker.errors import (
    ConflictError,
    InUseError,
    LedgerError,
    MoveError,
    NoSpaceError,
    PeerError,
)
from powerstrip_flocker.interfaces import IPeer, IUses, Snapshot
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from tests.adapters.flocker.datasets.cluster import FILE, Cluster, FakePeer, FakeUses, Fate

OLD_SIDE = {Step.SNAPSHOT, Step.FENCE, Step.LAST_SNAPSHOT}
COMMITTED = {Step.WRITABLE, Step.PRUNE}
BEFORE_COMMIT = [step for step in Step if step not in COMMITTED]


def outcome(task: Deferred[object]) -> object:
    """
    What has come of a task that has ended.
    """
    assert task.called, "it has not ended"
    found: list[object] = []
    task.addCallback(found.append)
    return found[0]


def written(cluster: Cluster, content: bytes = b"hello") -> Cluster:
    """
    A cluster whose n1 has a dataset with something in it, and no container any more.
    """
    cluster.start()
    assert outcome(cluster.hosts["n1"].bring("data")) is None
    cluster.write("n1", "data", content)
    cluster.stop_containers()
    return cluster


def at_step(wanted: Step, act: Callable[[Cluster], object]) -> Cluster:
    """
    A cluster in which something happens just before a step is taken, once.
    """
    happened: list[Step] = []

    async def at(step: Step, name: str) -> None:
        if step is wanted and not happened:
            happened.append(step)
            act(cluster)

    cluster = Cluster(at=lambda host: at)
    return written(cluster)


def check_one_owner(cluster: Cluster, content: bytes) -> None:
    """
    One node can write, and it has all.
    """
    owner = cluster.owner("data")
    assert cluster.writable("data") == [owner]
    assert cluster.hosts[owner].content("data") == content


def check_recovered(cluster: Cluster, content: bytes) -> None:
    """
    There is one owner, and from it the dataset can go on to the other node and back.
    """
    cluster.recover()
    check_one_owner(cluster, content)
    cluster.stop_containers()
    for host in ("n1", "n2"):
        assert outcome(cluster.hosts[host].bring("data")) is None
        cluster.stop_containers()
        assert [host] == cluster.writable("data")
        assert content == cluster.hosts[host].content("data")


def test_the_fakes_provide_what_they_stand_for() -> None:
    """
    Both interfaces are implemented whole.
    """
    cluster = Cluster()
    process = cluster.hosts["n1"].start()
    assert verifyObject(IPeer, FakePeer(process, "n2"))
    assert verifyObject(IUses, FakeUses("n1", cluster.hosts["n1"].storage))


def test_a_dataset_moves_with_what_was_written() -> None:
    """
    The new side has all of it and can write it; the old side can't.
    """
    cluster = written(Cluster())
    assert outcome(cluster.hosts["n2"].bring("data")) is None
    assert cluster.hosts["n2"].content("data") == b"hello"
    assert cluster.writable("data") == ["n2"]
    assert cluster.owner("data") == "n2"


def test_what_is_written_in_phase_one_comes_too() -> None:
    """
    A container that stops before phase two loses nothing.
    """
    cluster = at_step(Step.RECORD, lambda it: it.write("n1", "data", b"later"))
    assert outcome(cluster.hosts["n2"].bring("data")) is None
    assert cluster.hosts["n2"].content("data") == b"later"


def test_only_differences_go_back_and_forth() -> None:
    """
    After the first time, a stream is as small as what has changed.
    """
    cluster = written(Cluster())
    cluster.hosts["n1"].storage.write("data", "large", b"x" * 100_000)
    for host in ("n2", "n1", "n2", "n1"):
        assert outcome(cluster.hosts[host].bring("data")) is None
        cluster.write(host, "data", host.encode())
        cluster.stop_containers()
    assert cluster.sent_bytes[0] > 100_000
    assert max(cluster.sent_bytes[1:]) < 1000


def test_snapshots_do_not_pile_up() -> None:
    """
    However often a dataset moves, its owner keeps the one snapshot that the other side has.
    """
    cluster = written(Cluster())
    for host in ("n2", "n1") * 5:
        assert outcome(cluster.hosts[host].bring("data")) is None
        cluster.stop_containers()
    counts = {h.name: len(h.storage._datasets["data"].taken) for h in cluster.hosts.values()}
    assert counts["n1"] == 1
    assert counts["n2"] <= 3


def test_a_copy_is_rolled_back_just_before_it_receives() -> None:
    """
    Whatever else is tidied up comes before: on btrfs it makes a copy writable for a moment.
    """
    cluster = written(Cluster())
    assert outcome(cluster.hosts["n2"].bring_by_hand("data")) is None
    storage = cluster.hosts["n1"].storage
    del storage.calls[:]
    assert outcome(cluster.hosts["n1"].bring_by_hand("data")) is None
    calls = [call[0] for call in storage.calls]
    before = [calls[at - 1] for at, it in enumerate(calls) if it == "received"]
    assert "delete_snapshot" in calls
    assert before == ["roll_back", "roll_back"]


def test_a_persons_snapshots_stay() -> None:
    """
    Only what moves have taken is pruned on the owner.
    """
    cluster = written(Cluster())
    Deferred.fromCoroutine(cluster.hosts["n1"].storage.snapshot("data", "mine"))
    assert outcome(cluster.hosts["n2"].bring("data")) is None
    names = [it.snapshot.name for it in cluster.hosts["n1"].storage._datasets["data"].taken]
    assert "mine" in names


def test_a_container_that_uses_it_keeps_it() -> None:
    """
    The move is refused with the container and its node; the container can go on writing.
    """
    cluster = written(Cluster())
    cluster.hosts["n1"].bring("data")
    refused = outcome(cluster.hosts["n2"].bring("data"))
    assert isinstance(refused, InUseError)
    assert str(refused) == "data is used by container-of-n1 on n1"
    cluster.write("n1", "data", b"goes on")
    cluster.stop_containers()
    assert outcome(cluster.hosts["n2"].bring("data")) is None
    assert cluster.hosts["n2"].content("data") == b"goes on"


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("victim", ["n1", "n2"])
def test_a_node_may_die_at_any_step(victim: str, step: Step, power: bool) -> None:
    """
    Whichever side dies, killed or without power, the dataset is where the ledger says, whole.
    """
    cluster = at_step(step, lambda it: it.hosts[victim].crash(power))
    cluster.hosts["n2"].bring("data")
    assert len(cluster.writable("data")) <= 1
    check_recovered(cluster, b"hello")


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("victim", ["n1", "n2"])
def test_a_node_that_has_died_and_lives_again_is_not_kept_waiting(victim: str, step: Step) -> None:
    """
    The claim of its earlier life has not ended by itself yet.
    """
    cluster = at_step(step, lambda it: it.hosts[victim].crash())
    cluster.hosts["n2"].bring("data")
    cluster.stop_containers()
    cluster.start()
    assert outcome(cluster.hosts["n2"].bring("data")) is None
    assert cluster.owner("data") == "n2"
    check_one_owner(cluster, b"hello")


def test_a_node_that_starts_leaves_the_moves_of_others() -> None:
    """
    It ends those that are to itself.
    """
    cluster = at_step(Step.COMMIT, lambda it: (it.hosts["n1"].crash(), it.start()))
    assert outcome(cluster.hosts["n2"].bring("data")) is None
    check_one_owner(cluster, b"hello")
    assert cluster.owner("data") == "n2"


def test_a_node_that_is_started_again_in_its_life_leaves_its_own_moves() -> None:
    """
    As it is where etcd could not be asked for all that a start takes.
    """

    def start(cluster: Cluster) -> None:
        process = cluster.hosts["n2"].process
        assert process is not None
        assert outcome(process.run(process.keeper.start())) is None

    cluster = at_step(Step.COMMIT, start)
    assert outcome(cluster.hosts["n2"].bring("data")) is None
    check_one_owner(cluster, b"hello")


@pytest.mark.parametrize("step", Step)
def test_both_nodes_may_die_at_any_step(step: Step) -> None:
    """
    What both have on disk, with the ledger, is enough.
    """

    def crash(cluster: Cluster) -> None:
        for host in cluster.hosts.values():
            host.crash(power=True)

    cluster = at_step(step, crash)
    cluster.hosts["n2"].bring("data")
    check_recovered(cluster, b"hello")


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("parted", [("n1", "ledger"), ("n2", "ledger"), ("n1", "n2")])
def test_the_network_may_break_at_any_step(parted: tuple[str, str], step: Step) -> None:
    """
    Whoever is parted from whom, nothing is written on two sides, then or after claims have ended.
    """
    cluster = at_step(step, lambda it: it.cut(*parted))
    cluster.hosts["n2"].bring("data")
    for _ in range(15):
        cluster.advance(1)
        assert len(cluster.writable("data")) <= 1
    check_recovered(cluster, b"hello")


@pytest.mark.parametrize("step", Step)
def test_the_ledger_may_die_at_any_step(step: Step) -> None:
    """
    Nothing changes its owner meanwhile.
    """

    def die(cluster: Cluster) -> None:
        for host in cluster.hosts:
            cluster.cut(host, "ledger")

    cluster = at_step(step, die)
    cluster.hosts["n2"].bring("data")
    assert ("n2" if step in COMMITTED else "n1") == cluster.owner("data")
    check_recovered(cluster, b"hello")


@pytest.mark.parametrize("step", BEFORE_COMMIT)
def test_an_unfinished_move_is_undone(step: Step) -> None:
    """
    When the new side has died before the commit, the old side can write again by itself.
    """
    cluster = at_step(step, lambda it: it.hosts["n2"].crash())
    cluster.hosts["n2"].bring("data")
    cluster.advance(15)
    assert cluster.writable("data") == ["n1"]
    cluster.write("n1", "data", b"goes on")
    check_recovered(cluster, b"goes on")


@pytest.mark.parametrize(
    ("failure", "owner"), [("failure", "n1"), ("failure_after", "n2"), ("failure_late", "n1")]
)
def test_an_uncertain_commit_is_read_again(failure: str, owner: str) -> None:
    """
    Whether it has happened or not, one side can write; one that comes later does not count.
    """

    def fail(cluster: Cluster) -> None:
        process = cluster.hosts["n2"].process
        assert process is not None
        ledger = process.ledger
        commit = ledger.commit

        async def once(*arguments: object) -> object:
            setattr(ledger, failure, LedgerError("no answer"))
            try:
                return await commit(*arguments)  # type: ignore[arg-type]
            finally:
                setattr(ledger, failure, None)

        process.keeper.ledger._target = type("Once", (), {"commit": staticmethod(once)})()  # type: ignore[attr-defined]
        restore = process.keeper.ledger

        class Both:
            def __getattr__(self, name: str) -> object:
                return once if name == "commit" else getattr(ledger, name)

        restore._target = Both()  # type: ignore[attr-defined]

    cluster = at_step(Step.COMMIT, fail)
    found = outcome(cluster.hosts["n2"].bring("data"))
    cluster.deliver()
    assert owner == cluster.owner("data")
    assert (found is None) == (owner == "n2")
    cluster.advance(2)
    check_one_owner(cluster, b"hello")


def test_a_foreign_dataset_of_the_same_name_is_left_alone() -> None:
    """
    The move is refused, and what was here stays.
    """
    cluster = written(Cluster())
    foreign = cluster.hosts["n2"].storage
    Deferred.fromCoroutine(foreign.create("data"))
    foreign.write("data", FILE, b"foreign")
    Deferred.fromCoroutine(foreign.fence("data"))
    refused = outcome(cluster.hosts["n2"].bring("data"))
    assert isinstance(refused, MoveError)
    assert cluster.hosts["n2"].content("data") == b"foreign"
    cluster.advance(2)
    check_one_owner(cluster, b"hello")


def test_no_room_on_the_new_side_changes_nothing() -> None:
    """
    The old side can write on.
    """
    cluster = written(Cluster())
    cluster.hosts["n2"].storage.free_bytes = 0
    assert isinstance(outcome(cluster.hosts["n2"].bring("data")), NoSpaceError)
    cluster.advance(2)
    check_one_owner(cluster, b"hello")


def test_something_else_than_was_sent_is_not_committed() -> None:
    """
    A snapshot of the right name with another identity ends the move.
    """

    def change(cluster: Cluster) -> None:
        taken = cluster.hosts["n2"].storage._datasets["data"].taken
        other = Snapshot(taken[-1].snapshot.name, "other", 0.0)
        taken[-1] = type(taken[-1])(other, taken[-1].files)

    cluster = at_step(Step.VERIFY, change)
    assert isinstance(outcome(cluster.hosts["n2"].bring("data")), MoveError)
    cluster.advance(2)
    check_one_owner(cluster, b"hello")


def test_two_datasets_come_both_or_neither() -> None:
    """
    When one of them is in use, the other stays where it was.
    """
    cluster = written(Cluster())
    assert outcome(cluster.hosts["n1"].bring("used")) is None
    assert isinstance(outcome(cluster.hosts["n2"].bring("data", "used")), InUseError)
    cluster.advance(2)
    assert [cluster.owner("data"), cluster.owner("used")] == ["n1", "n1"]
    assert cluster.writable("data") == ["n1"]


def test_two_nodes_that_ask_at_once_have_one_winner() -> None:
    """
    The other one is told that it moves.
    """
    second: list[Deferred[object]] = []

    async def at(step: Step, name: str) -> None:
        if step is Step.SEND and not second:
            second.append(cluster.hosts["n3"].bring("data"))

    def hooks(host: str) -> At:
        return at if host == "n2" else go_on

    cluster = written(Cluster(names=("n1", "n2", "n3"), at=hooks))
    assert outcome(cluster.hosts["n2"].bring("data")) is None
    assert isinstance(outcome(second[0]), ConflictError)
    check_one_owner(cluster, b"hello")


def test_a_move_by_hand_expects_no_container() -> None:
    """
    The dataset is here, writable, and can go on at once.
    """
    cluster = written(Cluster())
    for host in ("n2", "n1"):
        assert outcome(cluster.hosts[host].bring_by_hand("data")) is None
        check_one_owner(cluster, b"hello")
        assert host == cluster.owner("data")


def test_a_move_by_hand_creates_nothing() -> None:
    """
    A name that no dataset has is refused, and still has none; another one asked for stays.
    """
    cluster = written(Cluster())
    refused = outcome(cluster.hosts["n2"].bring_by_hand("data", "missing"))
    assert isinstance(refused, MoveError)
    assert str(refused) == "there is no dataset missing"
    assert list(cluster.store.entries) == ["data"]
    cluster.advance(2)
    check_one_owner(cluster, b"hello")
    assert cluster.owner("data") == "n1"


def test_progress_is_told_while_it_moves() -> None:
    """
    Bytes, and how many are expected; nothing once it has ended.
    """
    cluster = written(Cluster(is_stepped=False))
    cluster.is_stepped = True
    cluster.hosts["n2"].bring("data")
    while not any(it.what == "stream" for it in cluster.held):
        cluster.let(cluster.held[0])
    process = cluster.hosts["n2"].process
    assert process is not None
    found = process.mover.progress["data"]
    assert found.expected_bytes is not None
    assert found.expected_bytes // 2 == found.sent_bytes
    cluster.run_dry()
    assert process.mover.progress == {}


def promoted(cluster: Cluster) -> object:
    process = cluster.hosts["n2"].process
    assert process is not None
    return outcome(process.run(process.mover.promote("data")))


def test_promote_takes_the_newest_replica() -> None:
    """
    What was sent last is there and writable; the old owner, coming back, has it read-only.
    """
    cluster = written(Cluster())
    for host in ("n2", "n1"):
        cluster.hosts[host].bring("data")
        cluster.stop_containers()
    cluster.write("n1", "data", b"never sent")
    cluster.hosts["n1"].crash(power=True)
    assert isinstance(promoted(cluster), Snapshot)
    check_one_owner(cluster, b"hello")
    check_recovered(cluster, b"hello")


def test_a_living_owner_is_not_promoted_over() -> None:
    """
    The operator is told to move it instead.
    """
    cluster = written(Cluster())
    cluster.hosts["n2"].bring("data")
    cluster.stop_containers()
    cluster.hosts["n1"].bring("data")
    assert isinstance(promoted(cluster), ConflictError)
    check_one_owner(cluster, b"hello")


def test_without_a_replica_there_is_nothing_to_promote() -> None:
    """
    The record stays with the old owner.
    """
    cluster = written(Cluster())
    cluster.hosts["n1"].crash()
    assert isinstance(promoted(cluster), MoveError)
    assert cluster.owner("data") == "n1"


def destroyed(cluster: Cluster, host: str) -> object:
    process = cluster.hosts[host].process
    assert process is not None
    return outcome(process.run(process.mover.destroy("data")))


def test_destroy_removes_all_copies() -> None:
    """
    Nothing is left of it on either node, nor in the ledger; its name can be used again.
    """
    cluster = written(Cluster())
    cluster.hosts["n2"].bring("data")
    cluster.stop_containers()
    assert destroyed(cluster, "n2") is None
    assert cluster.store.entries == {}
    assert [host.storage._datasets for host in cluster.hosts.values()] == [{}, {}]
    assert outcome(cluster.hosts["n1"].bring("data")) is None


def test_what_is_used_is_not_destroyed() -> None:
    """
    It stays writable.
    """
    cluster = written(Cluster())
    cluster.hosts["n1"].bring("data")
    assert isinstance(destroyed(cluster, "n1"), InUseError)
    check_one_owner(cluster, b"hello")


def test_another_nodes_dataset_is_not_destroyed() -> None:
    """
    Only its owner can tell that nothing uses it.
    """
    cluster = written(Cluster())
    assert isinstance(destroyed(cluster, "n2"), MoveError)
    check_one_owner(cluster, b"hello")


def test_an_owner_that_can_not_be_reached_keeps_it() -> None:
    """
    Nothing comes from a node that is away.
    """
    cluster = written(Cluster())
    cluster.cut("n1", "n2")
    assert isinstance(outcome(cluster.hosts["n2"].bring("data")), PeerError)
    check_one_owner(cluster, b"hello")


def test_an_owner_that_lost_its_disk_does_not_start_with_an_empty_one() -> None:
    """
    A dataset that should be here and is not is an error, not a new one.
    """
    cluster = written(Cluster())
    cluster.hosts["n1"].storage._datasets.clear()
    assert isinstance(outcome(cluster.hosts["n1"].bring("data")), MoveError)
    assert cluster.writable("data") == []


def test_a_creation_that_was_written_down_late_is_found() -> None:
    """
    Its caller was told that it failed; whoever asks next has its owner make it after all.
    """
    cluster = Cluster()
    cluster.start()
    cluster.is_stepped = True
    failed = cluster.hosts["n1"].bring("data")
    while cluster.held[0].what != "ledger.create":
        cluster.let(cluster.held[0])
    cluster.let(cluster.held[0], Fate.LATE)
    cluster.run_dry()
    assert isinstance(outcome(failed), LedgerError)
    cluster.deliver()
    assert cluster.store.entries["data"].record.generation == 0
    assert isinstance(settled(cluster, "n2"), ConflictError)
    assert settled(cluster, "n2") is None
    assert cluster.writable("data") == ["n2"]


def settled(cluster: Cluster, host: str) -> object:
    asked = cluster.hosts[host].bring("data")
    cluster.run_dry()
    return outcome(asked)
