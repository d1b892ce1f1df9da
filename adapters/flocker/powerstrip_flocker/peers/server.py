"""
Does for other nodes what `IPeer` says.

I/O: an HTTP resource, and the storage's commands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.move import Mover
from powerstrip_flocker.errors import ConflictError, FlockerError, StorageError
from powerstrip_flocker.interfaces import Claim, IStorage
from powerstrip_flocker.names import check_name
from powerstrip_flocker.peers.messages import ALIVE_SECONDS, PATH, encode_error, encode_snapshots
from powerstrip_flocker.peers.reactor import PeerReactor
from powerstrip_flocker.peers.sending import STALL_SECONDS, Sent, send
from powerstrip_flocker.peers.tls import names_in

__all__ = ["PeerResource"]

QUESTION_BYTES = 64 * 1024

Question = Mapping[str, Any]

FIELDS: Mapping[str, tuple[str, ...]] = {
    "prepare": ("name", "node", "token"),
    "fence": ("name", "node", "token"),
    "fetch": ("name", "node", "token", "snapshot", "base"),
    "look": ("name",),
    "forget": ("name", "identity"),
    "bring": ("name",),
}
"""What is said with each question: text, but that there may be no base."""

_SNAPSHOT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class PeerResource(Resource):
    """
    This node, as others ask it.

    A call goes on when its caller has gone, but for what is fetched.
    """

    isLeaf = True

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        node: str,
        keeper: Keeper,
        mover: Mover,
        storage: IStorage,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """
        Args:
            stall_seconds: How long a node that fetches may take nothing of what it is sent.
        """
        super().__init__()
        self._stall_seconds = stall_seconds
        self._reactor = reactor
        self._node = node
        self._keeper = keeper
        self._mover = mover
        self._storage = storage
        self._is_open = False
        self._under_way: set[Deferred[None]] = set()
        self._methods: Mapping[str, Callable[[Question], Awaitable[object]]] = {
            "prepare": self._prepare,
            "fence": self._fence,
            "look": self._look,
            "forget": self._forget,
            "bring": self._bring,
        }

    def open(self) -> None:
        """
        Answer from here on, as `Keeper.start` has ended. Before, nodes are told to try again.
        """
        self._is_open = True

    async def stop(self) -> None:
        """
        End what is under way: commands that send are dead when this is over.
        """
        self._is_open = False
        under_way = tuple(self._under_way)
        for call in under_way:
            call.cancel()
        await DeferredList(under_way)

    # IResource

    def render_POST(self, request: Request) -> int | bytes:
        method = request.path.decode("ascii", "replace").removeprefix(f"{PATH}/")
        if method not in FIELDS:
            request.setResponseCode(404)
            return b"no method of a node's\n"
        try:
            question = _read(method, cast(Any, request.content).read(QUESTION_BYTES))
        except ValueError as error:
            request.setResponseCode(400)
            return f"{error}\n".encode()
        if method == "fetch":
            call = self._fetch(request, question)
        else:
            call = self._answer(request, self._methods[method], question)
        self._begin(request, call, goes_on=method != "fetch")
        return NOT_DONE_YET

    def _begin(
        self, request: Request, work: Coroutine[Deferred[Any], Any, None], goes_on: bool
    ) -> None:
        is_gone = False

        def gone(_: Failure) -> None:
            nonlocal is_gone
            is_gone = True
            if not goes_on:
                call.cancel()

        def ended(result: Failure | None) -> None:
            self._under_way.discard(call)
            if result is not None and not result.check(CancelledError):
                self._log.failure("a call of another node failed", result)
            if is_gone:
                return
            if result is None:
                request.finish()
            else:
                cast(Any, request.transport).abortConnection()

        request.setHeader("Content-Type", "application/octet-stream")
        request.notifyFinish().addErrback(gone)
        call = Deferred.fromCoroutine(work)
        self._under_way.add(call)
        call.addBoth(ended)

    async def _answer(
        self,
        request: Request,
        method: Callable[[Question], Awaitable[object]],
        question: Question,
    ) -> None:
        """
        Answer in JSON, with white space before it as signs of life.
        """
        living = LoopingCall(request.write, b" ")
        living.clock = self._reactor
        living.start(ALIVE_SECONDS)
        try:
            self._refuse(request, question)
            answer = json.dumps({"result": await method(question)}).encode("ascii")
        except FlockerError as error:
            answer = encode_error(self._with_node(error))
        except Exception as error:
            if isinstance(error, CancelledError):
                raise
            self._log.failure("a call of another node failed")
            answer = encode_error(FlockerError(f"{self._node} has failed: its log says how"))
        finally:
            living.stop()
        request.write(answer)

    async def _fetch(self, request: Request, question: Question) -> None:
        async def check() -> None:
            self._refuse(request, question)
            await self._keeper.lend(_claim(question))

        what = Sent(question["name"], question["snapshot"], question["base"])
        await send(self._reactor, self._storage, request, check, what, self._stall_seconds)

    def _refuse(self, request: Request, question: Question) -> None:
        """
        Raise an error where nothing is answered yet, or where a node may not ask this.
        """
        if not self._is_open:
            # No `PeerError`: who asks is not to take this node for dead.
            raise ConflictError(f"{self._node} is starting or stopping: try again")
        if "node" not in question or not request.isSecure():
            return
        names = names_in(cast(Any, request.transport).getPeerCertificate().to_cryptography())
        if question["node"] not in names:
            who = ", ".join(sorted(names))
            raise FlockerError(f"{who} can't have {question['name']} moved to {question['node']}")

    def _with_node(self, error: FlockerError) -> FlockerError:
        """
        Say whose storage or engine it is: who asks has one as well.
        """
        if isinstance(error, StorageError) or type(error) is FlockerError:
            return type(error)(f"{self._node}: {error}")
        return error

    async def _prepare(self, question: Question) -> object:
        return encode_snapshots(await self._keeper.prepare(_claim(question)))

    async def _fence(self, question: Question) -> object:
        return encode_snapshots(await self._keeper.fence(_claim(question)))

    async def _look(self, question: Question) -> object:
        await self._keeper.look(question["name"])
        return None

    async def _forget(self, question: Question) -> object:
        await self._keeper.forget(question["name"], question["identity"])
        return None

    async def _bring(self, question: Question) -> object:
        await self._mover.bring([question["name"]])
        return None


def _claim(question: Question) -> Claim:
    return Claim(question["name"], question["node"], question["token"])


def _read(method: str, written: bytes) -> Question:
    try:
        question = json.loads(written)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(question, dict) or question.keys() != set(FIELDS[method]):
        raise ValueError(f"with {method} goes {', '.join(FIELDS[method])}")
    texts = [value for key, value in question.items() if key != "base" or value is not None]
    if not all(isinstance(value, str) for value in texts):
        raise ValueError("it is no text")
    try:
        check_name(question["name"])
    except FlockerError as error:
        raise ValueError(str(error)) from error
    for key in ("snapshot", "base"):
        if question.get(key) is not None and not _SNAPSHOT.fullmatch(question[key]):
            raise ValueError(f"no {key} is called {question[key]!r}")
    return question
