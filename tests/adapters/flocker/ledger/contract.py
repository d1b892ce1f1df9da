"""
What every ledger promises to the adapter: one class of tests, for the fake and the real ones.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import pytest
import pytest_twisted
from attrs import evolve
from powerstrip_flocker.datasets.record import Record, Replica
from powerstrip_flocker.errors import ConflictError
from powerstrip_flocker.interfaces import ILedger
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

A = Record("test1", "id-1", "node1", 1)
B = Record("test2", "id-2", "node2", 7, {"node1": Replica("powerstrip-00000003", "guid")})

_T = TypeVar("_T")


class LedgerHost(Protocol):
    """
    Where a ledger is, and what opens it.
    """

    ledger: ILedger

    async def open(self) -> ILedger:
        """
        Start another one on the same records, as another node does.
        """


async def winner(*asking: Coroutine[Any, Any, _T]) -> _T:
    """
    Ask for all of these at once, and give what the only one has that is not told of a conflict.
    """
    outcomes = [Deferred.fromCoroutine(one) for one in asking]
    won = []
    for outcome in outcomes:
        with suppress(ConflictError):
            won.append(await outcome)
    assert len(won) == 1
    return won[0]


class LedgerContract:
    """
    Subclasses have a fixture `host`: a `LedgerHost` whose ledger has been started and is empty.
    """

    def test_it_is_a_ledger(self, host: LedgerHost) -> None:
        """
        It has what a ledger has.
        """
        assert verifyObject(ILedger, host.ledger)

    @pytest_twisted.ensureDeferred
    async def test_nothing_is_written_at_first(self, host: LedgerHost) -> None:
        """
        There are no records and no claims.
        """
        assert tuple(await host.ledger.all()) == ()
        assert None is await host.ledger.get("test1")
        assert None is await host.ledger.claim_of("test1")

    @pytest_twisted.ensureDeferred
    async def test_what_is_created_is_read(self, host: LedgerHost) -> None:
        """
        A record is what was written, alone and among all, which come by name.
        """
        two, one = await host.ledger.create(B), await host.ledger.create(A)
        assert (one.record, two.record) == (A, B)
        assert one == await host.ledger.get("test1")
        assert (one, two) == tuple(await host.ledger.all())

    @pytest_twisted.ensureDeferred
    async def test_a_name_that_begins_another_is_not_the_other(self, host: LedgerHost) -> None:
        """
        `test` is not `test1`.
        """
        await host.ledger.create(A)
        assert None is await host.ledger.get("test")

    @pytest_twisted.ensureDeferred
    async def test_strange_text_comes_back(self, host: LedgerHost) -> None:
        """
        Quotes, control characters, other alphabets and what is no text at all.
        """
        strange = 'a "b" \\ \x00\n\x7f\u2028 \u00e9 \U0001f40b \udcff'
        replicas = {strange: Replica(strange, strange)}
        record = Record("x._-9", strange, strange, 2**53 + 1, replicas)
        await host.ledger.create(record)
        entry = await host.ledger.get("x._-9")
        assert entry is not None
        assert record == entry.record

    @pytest_twisted.ensureDeferred
    async def test_a_name_is_created_once(self, host: LedgerHost) -> None:
        """
        The second is refused, and changes nothing.
        """
        first = await host.ledger.create(A)
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.create(evolve(A, owner="node2"))
        assert first == await host.ledger.get("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_record_is_replaced(self, host: LedgerHost) -> None:
        """
        It has another revision then, and the old one is of no use any more.
        """
        first = await host.ledger.create(A)
        second = await host.ledger.replace(first, evolve(A, generation=2))
        assert second == await host.ledger.get("test1")
        assert second.record.generation == 2
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.replace(first, evolve(A, generation=3))
        assert second == await host.ledger.get("test1")

    @pytest_twisted.ensureDeferred
    async def test_the_same_record_again_is_another_revision(self, host: LedgerHost) -> None:
        """
        Who has read it before is told.
        """
        first = await host.ledger.create(A)
        second = await host.ledger.replace(first, A)
        assert first.revision != second.revision

    @pytest_twisted.ensureDeferred
    async def test_a_record_is_deleted(self, host: LedgerHost) -> None:
        """
        It is gone, and what was read of it is of no use, also when its name comes again.
        """
        first = await host.ledger.create(A)
        await host.ledger.delete(first)
        assert None is await host.ledger.get("test1")
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.delete(first)
        again = await host.ledger.create(A)
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.replace(first, A)
        assert again == await host.ledger.get("test1")

    @pytest_twisted.ensureDeferred
    async def test_one_of_two_at_once_wins(self, host: LedgerHost) -> None:
        """
        The other is told that it has lost.
        """
        first = await host.ledger.create(A)
        changes = [host.ledger.replace(first, evolve(A, owner=it)) for it in ("node2", "node3")]
        assert await winner(*changes) == await host.ledger.get("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_move_is_claimed_once(self, host: LedgerHost) -> None:
        """
        A second claim is refused with a word on the first, until that has been released.
        """
        entry = await host.ledger.create(A)
        claim = await host.ledger.claim(entry, "node2")
        assert (claim.name, claim.node) == ("test1", "node2")
        assert claim == await host.ledger.claim_of("test1")
        with pytest.raises(ConflictError, match="node2"):
            await host.ledger.claim(entry, "node3")
        await host.ledger.release(claim)
        assert None is await host.ledger.claim_of("test1")
        second = await host.ledger.claim(entry, "node3")
        assert claim.token != second.token

    @pytest_twisted.ensureDeferred
    async def test_a_claim_that_has_ended_is_released_for_nothing(self, host: LedgerHost) -> None:
        """
        It leaves another one alone.
        """
        entry = await host.ledger.create(A)
        first = await host.ledger.claim(entry, "node2")
        await host.ledger.release(first)
        second = await host.ledger.claim(entry, "node2")
        await host.ledger.release(first)
        assert second == await host.ledger.claim_of("test1")

    @pytest_twisted.ensureDeferred
    async def test_claims_of_two_datasets_are_apart(self, host: LedgerHost) -> None:
        """
        Each can be moved while the other is.
        """
        one, two = await host.ledger.create(A), await host.ledger.create(B)
        claims = [await host.ledger.claim(one, "node2"), await host.ledger.claim(two, "node3")]
        assert claims[0] == await host.ledger.claim_of("test1")
        assert claims[1] == await host.ledger.claim_of("test2")

    @pytest_twisted.ensureDeferred
    async def test_an_old_record_is_not_claimed(self, host: LedgerHost) -> None:
        """
        Who claims has seen the record as it is.
        """
        first = await host.ledger.create(A)
        await host.ledger.replace(first, evolve(A, generation=2))
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.claim(first, "node2")
        assert None is await host.ledger.claim_of("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_commit_changes_the_record_and_ends_the_claim(self, host: LedgerHost) -> None:
        """
        Both at once; the claim is of no use afterwards.
        """
        entry = await host.ledger.create(A)
        claim = await host.ledger.claim(entry, "node2")
        moved = await host.ledger.commit(claim, entry, evolve(A, owner="node2", generation=2))
        assert moved == await host.ledger.get("test1")
        assert moved.record.owner == "node2"
        assert None is await host.ledger.claim_of("test1")
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.commit(claim, moved, A)
        assert moved == await host.ledger.get("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_released_claim_is_not_committed(self, host: LedgerHost) -> None:
        """
        Neither where nobody has another, nor where somebody has.
        """
        entry = await host.ledger.create(A)
        claim = await host.ledger.claim(entry, "node2")
        await host.ledger.release(claim)
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.commit(claim, entry, evolve(A, owner="node2"))
        await host.ledger.claim(entry, "node2")
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.commit(claim, entry, evolve(A, owner="node2"))
        assert entry == await host.ledger.get("test1")

    @pytest_twisted.ensureDeferred
    async def test_an_old_record_is_not_committed(self, host: LedgerHost) -> None:
        """
        The claim stays, and can be committed on what has been read anew.
        """
        first = await host.ledger.create(A)
        claim = await host.ledger.claim(first, "node2")
        second = await host.ledger.replace(first, evolve(A, replicas=B.replicas))
        with pytest.raises(ConflictError, match="test1"):
            await host.ledger.commit(claim, first, evolve(A, owner="node2"))
        assert claim == await host.ledger.claim_of("test1")
        moved = await host.ledger.commit(claim, second, evolve(A, owner="node2"))
        assert moved == await host.ledger.get("test1")

    @pytest_twisted.ensureDeferred
    async def test_records_outlive_the_process_and_claims_do_not(self, host: LedgerHost) -> None:
        """
        What is opened after a stop has the records, with their revisions.
        """
        entry = await host.ledger.create(A)
        claim = await host.ledger.claim(entry, "node2")
        await host.ledger.stop()
        other = await host.open()
        assert entry == await other.get("test1")
        assert None is await other.claim_of("test1")
        second = await other.claim(entry, "node2")
        assert claim.token != second.token
        assert entry.revision != (await other.replace(entry, A)).revision


class SharedLedgerContract(LedgerContract):
    """
    What one promises that several nodes share.
    """

    @pytest_twisted.ensureDeferred
    async def test_a_node_sees_at_once_what_another_has_written(self, host: LedgerHost) -> None:
        """
        Records and claims.
        """
        other = await host.open()
        entry = await host.ledger.create(A)
        assert entry == await other.get("test1")
        claim = await host.ledger.claim(entry, "node2")
        assert claim == await other.claim_of("test1")
        moved = await host.ledger.commit(claim, entry, evolve(A, owner="node2"))
        assert moved == await other.get("test1")

    @pytest_twisted.ensureDeferred
    async def test_one_of_two_nodes_wins(self, host: LedgerHost) -> None:
        """
        A name, a change and a claim are had by one of two that want it at once.
        """
        one, other = host.ledger, await host.open()
        entry = await winner(one.create(A), other.create(evolve(A, owner="node2")))
        assert entry == await one.get("test1")
        entry = await winner(one.replace(entry, A), other.replace(entry, evolve(A, owner="node2")))
        assert entry == await one.get("test1")
        claim = await winner(one.claim(entry, "node2"), other.claim(entry, "node3"))
        assert claim == await one.claim_of("test1")

    @pytest_twisted.ensureDeferred
    async def test_stopping_ends_only_claims_of_ones_own(self, host: LedgerHost) -> None:
        """
        Another node's goes on.
        """
        other = await host.open()
        entry = await host.ledger.create(A)
        claim = await host.ledger.claim(entry, "node2")
        await other.stop()
        assert claim == await host.ledger.claim_of("test1")
        moved = await host.ledger.commit(claim, entry, evolve(A, owner="node2"))
        assert moved.record.owner == "node2"
