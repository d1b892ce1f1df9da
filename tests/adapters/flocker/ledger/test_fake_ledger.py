"""
The ledger in memory keeps what the real ones promise, and fails as they do.
"""

from __future__ import annotations

import pytest
import pytest_twisted
from attrs import define, evolve, field
from powerstrip_flocker.errors import ConflictError, LedgerError
from powerstrip_flocker.ledger.testing import CLAIM_SECONDS, FakeLedger
from twisted.internet.defer import Deferred

from tests.adapters.flocker.ledger.contract import A, SharedLedgerContract

LOST = LedgerError("the cable is out")
MOVED = evolve(A, owner="node2", generation=2)


@define
class FakeHost:
    """
    A ledger in memory.
    """

    ledger: FakeLedger = field(factory=FakeLedger)

    async def open(self) -> FakeLedger:
        return FakeLedger(self.ledger.store)


@pytest.fixture
def host() -> FakeHost:
    """
    A ledger in memory.
    """
    return FakeHost()


@pytest.fixture
def ledger(host: FakeHost) -> FakeLedger:
    """
    The same, by itself.
    """
    return host.ledger


class TestFakeLedger(SharedLedgerContract):
    """
    The contract.
    """


@pytest_twisted.ensureDeferred
async def test_a_failure_before_changes_nothing(ledger: FakeLedger) -> None:
    """
    It is raised, and the call is on record.
    """
    entry = await ledger.create(A)
    ledger.failure = LOST
    with pytest.raises(LedgerError, match="the cable is out"):
        await ledger.replace(entry, MOVED)
    ledger.failure = None
    assert entry == await ledger.get("test1")
    assert ledger.calls == ["create", "replace", "get"]


@pytest_twisted.ensureDeferred
async def test_a_failure_after_has_changed_it(ledger: FakeLedger) -> None:
    """
    It is raised though the commit has happened, and a look tells.
    """
    entry = await ledger.create(A)
    claim = await ledger.claim(entry, "node2")
    ledger.failure_after = LOST
    with pytest.raises(LedgerError, match="the cable is out"):
        await ledger.commit(claim, entry, MOVED)
    ledger.failure_after = None
    found = await ledger.get("test1")
    assert found is not None
    assert found.record == MOVED
    assert None is await ledger.claim_of("test1")


@pytest.mark.parametrize(("looks", "record"), [(False, MOVED), (True, A)])
@pytest_twisted.ensureDeferred
async def test_a_late_change_happens_unless_it_was_asked_for(
    ledger: FakeLedger, looks: bool, record: object
) -> None:
    """
    Once a look has said that it has not happened, it never does.
    """
    entry = await ledger.create(A)
    claim = await ledger.claim(entry, "node2")
    ledger.failure_late = LOST
    with pytest.raises(LedgerError, match="the cable is out"):
        await ledger.commit(claim, entry, MOVED)
    ledger.failure_late = None
    if looks:
        await ledger.get("test1")
    ledger.store.deliver()
    found = await ledger.get("test1")
    assert found is not None
    assert record == found.record


@pytest_twisted.ensureDeferred
async def test_a_late_change_fails_once_its_claim_has_ended(host: FakeHost) -> None:
    """
    Another node that finds no claim finds what stays.
    """
    entry = await host.ledger.create(A)
    claim = await host.ledger.claim(entry, "node2")
    host.ledger.failure_late = LOST
    with pytest.raises(LedgerError, match="the cable is out"):
        await host.ledger.commit(claim, entry, MOVED)
    host.ledger.cut()
    host.ledger.store.clock.advance(CLAIM_SECONDS)
    other = await host.open()
    assert None is await other.claim_of("test1")
    host.ledger.store.deliver()
    assert entry == await other.get("test1")


@pytest_twisted.ensureDeferred
async def test_claims_end_when_their_ledger_is_cut(host: FakeHost) -> None:
    """
    Not before their time, but for good: healed afterwards, it can't commit.
    """
    entry = await host.ledger.create(A)
    claim = await host.ledger.claim(entry, "node2")
    clock, other = host.ledger.store.clock, await host.open()
    clock.advance(10 * CLAIM_SECONDS)
    host.ledger.cut()
    clock.advance(CLAIM_SECONDS - 1)
    assert claim == await other.claim_of("test1")
    clock.advance(1)
    host.ledger.heal()
    with pytest.raises(ConflictError, match="test1"):
        await host.ledger.commit(claim, entry, MOVED)


@pytest_twisted.ensureDeferred
async def test_a_short_cut_costs_no_claim(ledger: FakeLedger) -> None:
    """
    Nothing can be asked meanwhile.
    """
    entry = await ledger.create(A)
    claim = await ledger.claim(entry, "node2")
    ledger.cut()
    with pytest.raises(LedgerError, match="can't be reached"):
        await ledger.get("test1")
    ledger.store.clock.advance(CLAIM_SECONDS - 1)
    ledger.heal()
    ledger.store.clock.advance(CLAIM_SECONDS)
    assert claim == await ledger.claim_of("test1")


@pytest.mark.parametrize("fault", ["failure", "failure_after", "failure_late"])
@pytest_twisted.ensureDeferred
async def test_a_claim_in_doubt_ends_by_itself(ledger: FakeLedger, fault: str) -> None:
    """
    So does one whose release is in doubt: nobody keeps either.
    """
    entry = await ledger.create(A)
    setattr(ledger, fault, LOST)
    with pytest.raises(LedgerError, match="the cable is out"):
        await ledger.claim(entry, "node2")
    setattr(ledger, fault, None)
    ledger.store.clock.advance(CLAIM_SECONDS)
    claim = await ledger.claim(entry, "node2")
    setattr(ledger, fault, LOST)
    with pytest.raises(LedgerError, match="the cable is out"):
        await ledger.release(claim)
    setattr(ledger, fault, None)
    ledger.store.clock.advance(CLAIM_SECONDS)
    assert None is await ledger.claim_of("test1")


def test_a_call_waits_at_the_gate(ledger: FakeLedger) -> None:
    """
    A test decides when it goes on.
    """
    opening = Deferred[None]()

    async def gate(method: str) -> None:
        assert method == "create"
        await opening

    ledger.gate = gate
    creating = Deferred.fromCoroutine(ledger.create(A))
    assert ledger.store.entries == {}
    opening.callback(None)
    assert creating.called
    assert list(ledger.store.entries) == ["test1"]
