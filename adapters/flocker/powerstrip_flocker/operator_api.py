"""
What the operator's command asks of the adapter.

I/O: a Klein app over the parts that do the work.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from powerstrip.adapter.errors import Refused
from powerstrip.adapter.hooks import answer_json
from powerstrip.adapter.posted import posted_json
from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.move import Mover
from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.datasets.snapshots import identity_in, is_ours
from powerstrip_flocker.errors import FlockerError, StorageError
from powerstrip_flocker.interfaces import INodes, IPeer, Snapshot
from powerstrip_flocker.names import check_name
from powerstrip_flocker.refusals import refusal
from powerstrip_flocker.status import DatasetStatus, Here, JsonObject, move_json, snapshot_json
from powerstrip_flocker.survey import Survey

__all__ = ["OperatorApi"]

EXAMPLE = '{"to": "node2"}'
"""Of what a move is asked for with."""


class OperatorApi:
    """
    The API as an HTTP resource: ``OperatorApi(…).app.resource()``.

    All is JSON. Errors are ``{"message": "flocker: …"}`` with the statuses of
    `powerstrip_flocker.refusals`, and 404 where there is no such dataset or node. What changes
    something takes ``application/json`` only, and answers 415 to another type of body.
    """

    app = Klein()

    def __init__(
        self,
        node: str,
        keeper: Keeper,
        mover: Mover,
        nodes: INodes,
        peer: Callable[[str], IPeer],
        clock: IReactorTime,
        storage: str = "",
    ) -> None:
        """
        Args:
            peer: The node of a name.
            storage: What the storage is called: ``zfs:flocker``.
        """
        self._node = node
        self._keeper = keeper
        self._mover = mover
        self._nodes = nodes
        self._peer = peer
        self._clock = clock
        self._survey = Survey(keeper, mover, nodes, storage)
        self._log = Logger(namespace="powerstrip-flocker")

    @app.route("/status", methods=["GET"])
    async def status(self, request: IRequest) -> bytes:
        """
        How it is. The status is 200, whatever it says.

        ::

            {"node": "node1",
             "storage": {"name": "zfs:flocker", "free_bytes": 1048576},
             "ledger": {"problem": null},
             "engine": {"problem": null},
             "nodes": {"node1": "192.0.2.1:4523", "node2": "192.0.2.2:4523"},
             "datasets": [see GET /datasets],
             "moves": [see GET /moves],
             "problems": ["a sentence each"]}

        Where the ledger or the engine does not answer, its ``problem`` is a sentence, and the rest
        is what can be said without it. ``free_bytes`` is null where no dataset is here.
        """

        async def reply() -> JsonObject:
            return (await self._survey.status()).json()

        return await self._answer(request, reply)

    @app.route("/moves", methods=["GET"])
    async def moves(self, request: IRequest) -> bytes:
        """
        The moves that are under way, which is cheap to ask for again and again.

        ::

            {"moves": [{"dataset": "data", "from": "node1", "to": "node2", "phase": 1,
                        "sent_bytes": 1048576, "expected_bytes": 4194304, "elapsed_seconds": 0.5,
                        "bytes_per_second": 2097152.0, "remaining_seconds": 1.5}]}

        In phase 2 the dataset is fenced. The figures of a move from here are null: the other node
        has them. So are those that nobody knows.
        """

        async def reply() -> JsonObject:
            return {"moves": [move_json(it) for it in await self._survey.moves()]}

        return await self._answer(request, reply)

    @app.route("/datasets", methods=["GET"])
    async def datasets(self, request: IRequest) -> bytes:
        """
        All datasets of the cluster, and what this node has besides, by name.

        ::

            {"datasets": [{"name": "data", "owner": "node1", "generation": 3, "here": "writable",
                           "used_bytes": 4194304, "moving_to": null,
                           "replicas": {"node2": "the newest snapshot that node2 has"}}]}

        ``here`` is what this node has: a value of `powerstrip_flocker.status.Here`.
        ``used_bytes`` is null where it isn't here. 503 where the ledger does not answer.
        """

        async def reply() -> JsonObject:
            status = await self._survey.status()
            if status.ledger_problem is not None:
                raise Refused(503, f"flocker: {status.ledger_problem}")
            return {"datasets": [it.json() for it in status.datasets]}

        return await self._answer(request, reply)

    @app.route("/datasets/<name>", methods=["GET"])
    async def dataset(self, request: IRequest, name: str) -> bytes:
        """
        One dataset: what ``GET /datasets`` says of it, and besides::

            {"node": "node1", "mount_point": "/flocker/data", "identity": "32 digits",
             "used_by": ["web"], "newest": {a snapshot}, "problems": []}

        ``mount_point`` and ``used_by`` are null where it isn't writable here. ``newest`` is the
        newest snapshot here that a move took, which `promote` would go by; null where there is
        none.
        """

        async def reply() -> JsonObject:
            found = await self._find(name)
            problems = [found.problem] if found.problem else []
            used_by = None
            if found.is_writable:
                try:
                    used_by = list(await self._keeper.uses.containers(name))
                except FlockerError as error:
                    problems.append(str(error))
            mount_point = self._keeper.storage.mount_point(name) if found.is_writable else None
            newest = await self._newest(found)
            return {
                **found.json(),
                "node": self._node,
                "identity": found.record.identity if found.record else None,
                "mount_point": str(mount_point) if mount_point else None,
                "used_by": used_by,
                "newest": snapshot_json(newest) if newest else None,
                "problems": problems,
            }

        return await self._answer(request, reply)

    @app.route("/datasets/<name>/snapshots", methods=["GET"])
    async def snapshots(self, request: IRequest, name: str) -> bytes:
        """
        The snapshots that this node has of a dataset, oldest first.

        ::

            {"snapshots": [{"name": "powerstrip-…-00000001", "identity": "a GUID or UUID",
                            "created_seconds": 1448232000.0}]}

        409 where nothing of it is here.
        """

        async def reply() -> JsonObject:
            found = await self._find(name)
            if found.here in (Here.NOTHING, Here.MISSING, Here.ARRIVING):
                raise Refused(409, f"flocker: {self._node} has nothing of {name} to show")
            snapshots = await self._keeper.storage.snapshots(name)
            return {"snapshots": [snapshot_json(it) for it in snapshots]}

        return await self._answer(request, reply)

    @app.route("/datasets/<name>/move", methods=["POST"])
    async def move(self, request: IRequest, name: str) -> bytes:
        """
        Move a dataset to the node of ``{"to": "node2"}``. Answers once it is there::

            {"name": "data", "owner": "node2"}

        Who hangs up before that gives up a move to this node. One to another node goes on.
        """

        async def reply() -> JsonObject:
            to = posted_json(request, EXAMPLE).get("to")
            if not isinstance(to, str):
                raise Refused(400, f"the body must be JSON such as {EXAMPLE}")
            record = await self._record(name)
            started = self._clock.seconds()
            if to == self._node:
                await self._mover.bring([name])
            else:
                await self._check_node(to)
                await self._peer(to).bring(name)
            self._log.info(
                "{name} was moved from {old} to {to} by hand, in {seconds:.1f} s",
                name=name,
                old=record.owner,
                to=to,
                seconds=self._clock.seconds() - started,
            )
            return {"name": name, "owner": to}

        return await self._answer(request, reply)

    @app.route("/datasets/<name>/promote", methods=["POST"])
    async def promote(self, request: IRequest, name: str) -> bytes:
        """
        Have this node own a dataset whose owner is gone for good, on the operator's word.

        ::

            {"name": "data", "owner": "node2", "snapshot": {what the dataset is now}}
        """

        async def reply() -> JsonObject:
            posted_json(request, "{}")
            record = await self._record(name)
            snapshot = await self._mover.promote(name)
            self._log.warn(
                "{name} of {old} was promoted by hand: it is as in {snapshot}",
                name=name,
                old=record.owner,
                snapshot=snapshot.name,
            )
            return {"name": name, "owner": self._node, "snapshot": snapshot_json(snapshot)}

        return await self._answer(request, reply)

    @app.route("/datasets/<name>", methods=["DELETE"])
    async def destroy(self, request: IRequest, name: str) -> bytes:
        """
        Remove a dataset that this node owns, with all its replicas; or the replica here of one that
        was destroyed while this node was away. Answers ``{"name": "data"}``.
        """

        async def reply() -> JsonObject:
            posted_json(request, "{}")
            if (await self._find(name)).record is not None:
                await self._mover.destroy(name)
            else:
                await self._forget(name)
            self._log.warn("{name} was destroyed by hand", name=name)
            return {"name": name}

        return await self._answer(request, reply)

    async def _answer(self, request: IRequest, reply: Callable[[], Awaitable[JsonObject]]) -> bytes:
        async def body() -> bytes:
            try:
                return json.dumps(await reply()).encode("ascii") + b"\n"
            except FlockerError as error:
                raise refusal(error) from error

        return await answer_json(request, body)

    async def _find(self, name: str) -> DatasetStatus:
        check_name(name)
        found = await self._survey.dataset(name)
        if found is None:
            raise Refused(404, f"flocker: there is no dataset {name}")
        return found

    async def _record(self, name: str) -> Record:
        record = (await self._find(name)).record
        if record is None:
            what = f"{self._node} has a dataset {name} that no record speaks of"
            raise Refused(409, f"flocker: {what}: it is not this cluster's")
        return record

    async def _forget(self, name: str) -> None:
        snapshots = await self._keeper.storage.snapshots(name)
        for identity in {identity_in(it) for it in snapshots} - {None}:
            await self._keeper.forget(name, str(identity))
            if not await self._keeper.storage.exists(name):
                return
        # What nobody has fenced may be somebody's, and so may what no move has made.
        await self._record(name)

    async def _check_node(self, node: str) -> None:
        known = sorted({self._node, *await self._nodes.all()})
        if node not in known:
            raise Refused(404, f"flocker: there is no node {node}, but {', '.join(known)}")

    async def _newest(self, found: DatasetStatus) -> Snapshot | None:
        if found.record is None or found.space is None:
            return None
        try:
            snapshots = await self._keeper.storage.snapshots(found.name)
        except StorageError:
            return None
        ours = [it for it in snapshots if is_ours(found.record.identity, it)]
        return ours[-1] if ours else None
