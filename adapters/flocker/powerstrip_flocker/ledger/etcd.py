"""
Ownership records in etcd, for a cluster.

I/O: etcd 3.4 or newer, through its JSON gateway.

A record is a key, and its revision is the key's ``mod_revision``. A claim is a key under a lease of
its own, and its token is the key's ``create_revision``. Every change is one transaction that
compares these, so that it is made for all nodes at one moment or not at all.

**A change whose answer was lost** may still be on its way, in a member that was stopped or behind a
slow line, and etcd may apply it after a look has found nothing. Who then goes on as if it had
failed writes on what somebody else owns. So `EtcdLedger.get` first writes a record again as it is,
where its revision is still the one that a lost change is to replace: the revision that the change
compares is gone then. For other nodes it is the claim that tells: it ends with its lease, and no
commit of it can be made any more.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from powerstrip_flocker.datasets.record import Record, decode, encode
from powerstrip_flocker.errors import ConflictError, LedgerError
from powerstrip_flocker.interfaces import Claim, Entry, ILedger
from powerstrip_flocker.ledger.etcd_gateway import NOT_FOUND, AnswerLost, EtcdGateway, EtcdRefused

__all__ = ["EtcdLedger"]

PREFIX = "/powerstrip/flocker"

CLAIM_SECONDS = 10
"""How long a claim outlives its process, or its way to etcd."""

_Json = Mapping[str, Any]


@define(eq=False)
class _Lease:
    """
    What keeps a claim alive.
    """

    id: str
    keeping: LoopingCall | None = None

    def let_go(self) -> None:
        if self.keeping is not None and self.keeping.running:
            self.keeping.stop()


@implementer(ILedger)
class EtcdLedger:
    """
    One node's way to the records of its cluster.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, gateway: EtcdGateway, claim_seconds: int = CLAIM_SECONDS
    ) -> None:
        """
        Args:
            claim_seconds: etcd makes it two, where it is less.
        """
        self._clock = clock
        self._gateway = gateway
        self._claim_seconds = claim_seconds
        self._leases: dict[Claim, _Lease] = {}
        self._in_doubt: dict[str, set[int]] = {}
        self._pending: set[Deferred[None]] = set()

    async def start(self) -> None:
        await self._gateway.ask("kv/range", {**_everything(), "count_only": True}, again=True)

    async def stop(self) -> None:
        for claim in tuple(self._leases):
            self._end_lease(claim)
        await DeferredList(tuple(self._pending))

    async def get(self, name: str) -> Entry | None:
        entry = await self._look(name)
        while entry is not None and entry.revision in self._in_doubt.get(name, ()):
            # The record as it is: whoever compares its revision from here on comes too late.
            await self._change(name, entry.revision, _put(_record_key(name), encode(entry.record)))
            entry = await self._look(name)
        self._in_doubt.pop(name, None)
        return entry

    async def all(self) -> Sequence[Entry]:
        for name in tuple(self._in_doubt):
            await self.get(name)
        answer = await self._gateway.ask("kv/range", _everything(), again=True)
        entries = [_entry(found) for found in answer.get("kvs", ())]
        return tuple(sorted(entries, key=lambda entry: entry.record.name))

    async def create(self, record: Record) -> Entry:
        name = record.name
        answer = await self._change(name, 0, _put(_record_key(name), encode(record)))
        if not answer.get("succeeded"):
            raise ConflictError(f"there is a dataset {name} already")
        return Entry(record, _revision(answer))

    async def replace(self, entry: Entry, record: Record) -> Entry:
        name = entry.record.name
        answer = await self._change(name, entry.revision, _put(_record_key(name), encode(record)))
        if not answer.get("succeeded"):
            raise _changed(name)
        return Entry(record, _revision(answer))

    async def delete(self, entry: Entry) -> None:
        name = entry.record.name
        answer = await self._change(name, entry.revision, _delete(_record_key(name)))
        if not answer.get("succeeded"):
            raise _changed(name)

    async def claim(self, entry: Entry, node: str) -> Claim:
        name = entry.record.name
        granted = await self._gateway.ask(
            "lease/grant", {"TTL": str(self._claim_seconds)}, again=True
        )
        lease = _Lease(str(granted["ID"]))
        value = json.dumps({"node": node}).encode("ascii")
        question = _transaction(
            [_unchanged(_record_key(name), entry.revision), _created(_claim_key(name), 0)],
            [_put(_claim_key(name), value, lease.id)],
            [_range(_claim_key(name))],
        )
        try:
            answer = await self._gateway.ask("kv/txn", question, again=False)
            if not answer.get("succeeded"):
                held = _claim(name, answer["responses"][0]["response_range"])
                raise _changed(name) if held is None else _moving(held)
        except (LedgerError, CancelledError):
            # Made or not, nobody keeps it. A lease that was revoked can't be put under any more.
            self._in_background(self._revoke(lease))
            raise
        claim = Claim(name, node, str(_revision(answer)))
        self._leases[claim] = lease
        self._keep(claim, lease)
        return claim

    async def claim_of(self, name: str) -> Claim | None:
        return _claim(
            name, await self._gateway.ask("kv/range", {"key": _claim_key(name)}, again=True)
        )

    async def commit(self, claim: Claim, entry: Entry, record: Record) -> Entry:
        name = claim.name
        answer = await self._change(
            name,
            entry.revision,
            _put(_record_key(name), encode(record)),
            _delete(_claim_key(name)),
            claim=claim,
        )
        if not answer.get("succeeded"):
            if claim == _claim(name, answer["responses"][0]["response_range"]):
                raise _changed(name)
            self._end_lease(claim)
            raise ConflictError(f"the move of {name} to {claim.node} took too long or was ended")
        self._end_lease(claim)
        return Entry(record, _revision(answer))

    async def release(self, claim: Claim) -> None:
        self._end_lease(claim)
        key = _claim_key(claim.name)
        question = _transaction([_created(key, int(claim.token))], [_delete(key)], [])
        await self._gateway.ask("kv/txn", question, again=True)

    async def _look(self, name: str) -> Entry | None:
        # Linearizable, as it does not say `serializable`.
        answer = await self._gateway.ask("kv/range", {"key": _record_key(name)}, again=True)
        for found in answer.get("kvs", ()):
            return _entry(found)
        return None

    async def _change(
        self, name: str, revision: int, *operations: _Json, claim: Claim | None = None
    ) -> _Json:
        comparisons = [_unchanged(_record_key(name), revision)]
        if claim is not None:
            comparisons.append(_created(_claim_key(name), int(claim.token)))
        question = _transaction(comparisons, operations, [_range(_claim_key(name))])
        try:
            return await self._gateway.ask("kv/txn", question, again=False)
        except (AnswerLost, CancelledError):
            self._in_doubt.setdefault(name, set()).add(revision)
            raise

    # Leases

    def _keep(self, claim: Claim, lease: _Lease) -> None:
        async def keep() -> None:
            try:
                answer = await self._gateway.ask("lease/keepalive", {"ID": lease.id}, again=True)
            except LedgerError as error:
                self._log.warn("the move of {name}: {error}", name=claim.name, error=str(error))
                return
            if claim in self._leases and not answer.get("result", {}).get("TTL"):
                self._log.warn("the move of {name} has lost its lease", name=claim.name)
                lease.let_go()

        lease.keeping = LoopingCall(lambda: Deferred.fromCoroutine(keep()))
        lease.keeping.clock = self._clock
        self._watch(lease.keeping.start(self._claim_seconds / 4, now=False))

    def _end_lease(self, claim: Claim) -> None:
        lease = self._leases.pop(claim, None)
        if lease is not None:
            lease.let_go()
            self._in_background(self._revoke(lease))

    async def _revoke(self, lease: _Lease) -> None:
        try:
            await self._gateway.ask("lease/revoke", {"ID": lease.id}, again=True)
        except EtcdRefused as refusal:
            if refusal.code != NOT_FOUND:
                self._log.warn("a lease was not ended: {error}", error=str(refusal))
        except LedgerError as error:
            self._log.warn("a lease ends by itself: {error}", error=str(error))

    def _in_background(self, doing: Coroutine[Any, Any, None]) -> None:
        self._watch(Deferred.fromCoroutine(doing))

    def _watch(self, doing: Deferred[Any]) -> None:
        self._pending.add(doing)
        doing.addErrback(lambda failure: self._log.failure("etcd", failure))
        doing.addCallback(lambda _: self._pending.discard(doing))


# What etcd is told


def _encode(text: str) -> str:
    return b64encode(text.encode("utf-8")).decode("ascii")


def _record_key(name: str) -> str:
    return _encode(f"{PREFIX}/datasets/{name}")


def _claim_key(name: str) -> str:
    return _encode(f"{PREFIX}/claims/{name}")


def _everything() -> _Json:
    # `0` is what follows `/`.
    return {"key": _record_key(""), "range_end": _encode(f"{PREFIX}/datasets0")}


def _transaction(
    compare: Sequence[_Json], success: Sequence[_Json], failure: Sequence[_Json]
) -> _Json:
    return {"compare": compare, "success": success, "failure": failure}


def _unchanged(key: str, revision: int) -> _Json:
    return {"key": key, "target": "MOD", "mod_revision": str(revision)}


def _created(key: str, revision: int) -> _Json:
    return {"key": key, "target": "CREATE", "create_revision": str(revision)}


def _put(key: str, value: bytes, lease: str = "0") -> _Json:
    return {"request_put": {"key": key, "value": b64encode(value).decode("ascii"), "lease": lease}}


def _delete(key: str) -> _Json:
    return {"request_delete_range": {"key": key}}


def _range(key: str) -> _Json:
    return {"request_range": {"key": key}}


# What etcd says


def _revision(answer: _Json) -> int:
    return int(answer["header"]["revision"])


def _entry(found: _Json) -> Entry:
    key = b64decode(found["key"]).decode("utf-8", "replace")
    try:
        record = decode(b64decode(found.get("value", "")))
    except ValueError as error:
        raise LedgerError(f"the record {key} in etcd can't be understood: {error}") from error
    if key != f"{PREFIX}/datasets/{record.name}":
        raise LedgerError(f"the record {key} in etcd is that of {record.name}")
    return Entry(record, int(found["mod_revision"]))


def _claim(name: str, answer: _Json) -> Claim | None:
    for found in answer.get("kvs", ()):
        try:
            node = str(json.loads(b64decode(found.get("value", "")))["node"])
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"the claim of {name} in etcd can't be understood") from error
        return Claim(name, node, found["create_revision"])
    return None


def _changed(name: str) -> ConflictError:
    return ConflictError(f"the record of {name} has been changed since it was read")


def _moving(claim: Claim) -> ConflictError:
    return ConflictError(f"{claim.name} is being moved to {claim.node} already")
