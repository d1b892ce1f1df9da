"""
What two nodes do between two steps of another: why each step stands where it does.
"""

from __future__ import annotations

from powerstrip_flocker.errors import ConflictError, LedgerError

from tests.adapters.flocker.datasets.cluster import Cluster, Fate, Held, Host
from tests.adapters.flocker.datasets.test_move import check_one_owner, outcome, written


def stepped(*names: str) -> Cluster:
    """
    A cluster whose n1 has the dataset data, and whose every call is held from here on.
    """
    cluster = written(Cluster(names=names))
    cluster.is_stepped = True
    return cluster


def reach(cluster: Cluster, host: Host, what: set[str], kept: Held | None = None) -> Held:
    """
    Let go all calls but one that is kept, up to one of a host that is wanted.
    """
    while True:
        for held in cluster.held:
            if held.process is host.process and held.what in what and held is not kept:
                return held
        let_next(cluster, kept)


def go_on(cluster: Cluster, kept: Held | None = None) -> None:
    """
    Let go all calls but one that is kept.
    """
    while any(held is not kept for held in cluster.held):
        let_next(cluster, kept)


def let_next(cluster: Cluster, kept: Held | None) -> None:
    """
    Let go a call. There never is more than one writable copy.
    """
    held = next(it for it in cluster.held if it is not kept)
    cluster.let(held)
    for name in cluster.store.entries:
        assert len(cluster.writable(name)) <= 1, held.what


def test_a_commit_between_two_looks_at_the_ledger_leaves_one_owner() -> None:
    """
    An owner that looks while a commit is under way asks for the claim, and then for the record: so
    it never takes a record of before the commit for what has come of the claim.
    """
    cluster = stepped("n1", "n2")
    old, new = cluster.hosts["n1"], cluster.hosts["n2"]
    moved = new.bring("data")
    commit = reach(cluster, new, {"ledger.commit"})
    assert old.process is not None
    looked = old.process.run(old.process.keeper.look("data"))
    questions = {"ledger.claim_of", "ledger.get"}
    first = reach(cluster, old, questions, kept=commit)
    cluster.let(first)
    second = reach(cluster, old, questions, kept=commit)
    go_on(cluster, kept=second)
    go_on(cluster)
    assert outcome(moved) is None
    assert looked.called
    check_one_owner(cluster, b"hello")
    assert cluster.owner("data") == "n2"


def test_whoever_is_told_that_a_move_failed_finds_it_where_it_was() -> None:
    """
    The claim is released before it is read whether an uncertain commit has happened: one that comes
    after that can't happen any more. Here that is so by the claim alone: this ledger has forgotten
    that a change of its own is in doubt.
    """
    cluster = stepped("n1", "n2")
    new = cluster.hosts["n2"]
    moved = new.bring("data")
    cluster.let(reach(cluster, new, {"ledger.commit"}), Fate.LATE)
    assert new.process is not None
    new.process.ledger._in_doubt.clear()
    cluster.let(reach(cluster, new, {"ledger.release", "ledger.get"}))
    cluster.deliver()
    go_on(cluster)
    assert isinstance(outcome(moved), LedgerError)
    cluster.advance(2)
    go_on(cluster)
    assert cluster.owner("data") == "n1"
    check_one_owner(cluster, b"hello")


def test_what_a_dead_life_has_on_its_way_comes_too_late() -> None:
    """
    A node that has died in its commit lives again, and has ended that move: the owner can write.
    """
    cluster = stepped("n1", "n2")
    new = cluster.hosts["n2"]
    new.bring("data")
    cluster.let(reach(cluster, new, {"ledger.commit"}), Fate.LATE)
    new.crash()
    new.start()
    go_on(cluster)
    cluster.advance(1)
    go_on(cluster)
    assert cluster.writable("data") == ["n1"]
    cluster.write("n1", "data", b"goes on")
    cluster.deliver()
    assert cluster.owner("data") == "n1"
    check_one_owner(cluster, b"goes on")


def test_a_deletion_of_a_dead_life_leaves_what_is_used_again() -> None:
    """
    It compares the record, and no claim.
    """
    cluster = stepped("n1", "n2")
    host = cluster.hosts["n1"]
    assert host.process is not None
    host.process.run(host.process.mover.destroy("data"))
    cluster.let(reach(cluster, host, {"ledger.delete"}), Fate.LATE)
    host.crash()
    host.start()
    go_on(cluster)
    used = host.bring("data")
    go_on(cluster)
    assert outcome(used) is None
    cluster.deliver()
    assert cluster.owner("data") == "n1"
    check_one_owner(cluster, b"hello")


def test_a_dataset_that_has_gone_on_to_a_third_node_is_not_opened() -> None:
    """
    After its commit, and before it makes its copy writable, the new side looks at the ledger once
    more: it may have waited for another dataset meanwhile.
    """
    cluster = stepped("n1", "n2", "n3")
    second, third = cluster.hosts["n2"], cluster.hosts["n3"]
    made = cluster.hosts["n1"].bring("another")
    go_on(cluster)
    assert outcome(made) is None
    cluster.stop_containers()
    both = second.bring("another", "data")
    cluster.let(reach(cluster, second, {"ledger.commit"}))
    cluster.let(reach(cluster, second, {"ledger.commit"}))
    waits = reach(cluster, second, {"ledger.claim_of", "ledger.get", "storage.set_writable"})
    gone_on = third.bring("data")
    go_on(cluster, kept=waits)
    assert outcome(gone_on) is None
    go_on(cluster)
    assert isinstance(outcome(both), ConflictError)
    assert cluster.owner("data") == "n3"
    check_one_owner(cluster, b"hello")
