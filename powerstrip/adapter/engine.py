"""
The engine's API as adapters use it: over its own socket, never through Powerstrip.

I/O: treq, one connection for each request, with a bound on its time.
"""

from __future__ import annotations

import json
from collections.abc import Coroutine, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from attrs import frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from powerstrip.adapter.errors import EngineProtocolError, EngineRefused, EngineUnreachable
from powerstrip.core.addresses import Address
from powerstrip.net.agents import agent_to
from powerstrip.net.collecting import collect
from powerstrip.net.endpoints import engine_endpoint
from powerstrip.net.reactor import Reactor

__all__ = ["Container", "EngineClient", "Event", "EventStream", "connect_engine"]

REQUEST_SECONDS = 30.0
"""How long a request may take. An inspect waits for a start or a stop that runs: moby's lock."""

KILL_SECONDS = 60.0
"""A kill answers when the process has ended, for which the engine waits ten seconds and more."""

_T = TypeVar("_T")


@frozen
class Container:
    """
    A container, as ``docker inspect`` shows it at one moment.
    """

    id: str
    """All 64 digits."""

    name: str
    """Without the slash."""

    pid: int
    """Its process 1, seen from the host, or 0 where it doesn't run."""

    started_at: str
    """When it was started last, as the engine writes it: another text at each start."""

    environment: tuple[str, ...]
    """``NAME=value``, that of the image included. It may hold secrets."""

    network_mode: str
    """``default``, ``bridge``, ``none``, ``host``, ``container:ID`` or a network's name."""

    inspected: Mapping[str, Any]
    """All that the engine says."""

    @property
    def is_running(self) -> bool:
        """
        Whether it has processes. One that waits for its restart has none.
        """
        return self.pid > 0

    @classmethod
    def read(cls, inspected: Any) -> Container:
        """
        Read the engine's JSON.

        Raises:
            EngineProtocolError: when it is not that of a container.
        """
        try:
            state = inspected["State"]
            return cls(
                id=inspected["Id"],
                name=inspected["Name"].removeprefix("/"),
                pid=state["Pid"] if state["Running"] and not state.get("Restarting") else 0,
                started_at=state["StartedAt"],
                environment=tuple(inspected["Config"].get("Env") or ()),
                network_mode=inspected["HostConfig"].get("NetworkMode") or "default",
                inspected=inspected,
            )
        except (KeyError, TypeError, AttributeError) as error:
            what = f"the engine answered what is no container: {error!r}"
            raise EngineProtocolError(what) from error


@frozen
class Event:
    """
    Something that has happened to a container.
    """

    action: str
    """``start``, ``die``, ``destroy`` and so on."""

    container_id: str
    time_nano: int
    """The engine's clock, in nanoseconds since 1970."""

    attributes: Mapping[str, str]
    """``name``, ``image``, ``exitCode`` and the labels."""

    @classmethod
    def read(cls, line: bytes) -> Event:
        """
        Read a line of ``/events``.

        Raises:
            EngineProtocolError: when it is no event.
        """
        try:
            event = json.loads(line)
            actor = event["Actor"]
            attributes = actor.get("Attributes") or {}
            return cls(event["Action"], actor["ID"], int(event["timeNano"]), attributes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"the engine sent what is no event: {error!r}"
            raise EngineProtocolError(what) from error


class EventStream(Protocol):
    """
    The events of one connection, for ``async for``. It ends when the engine ends it.
    """

    def __init__(self) -> None:
        self._lines: DeferredQueue[bytes | None] = DeferredQueue()
        self._rest = b""

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        return Event.read(line)

    def close(self) -> None:
        """
        Hang up.
        """
        if self.transport is not None:
            self.transport.loseConnection()

    # IProtocol

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in filter(None, lines):
            self._lines.put(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lines.put(None)


class EngineClient:
    """
    Asks the engine. All methods raise an `EngineError`: `EngineRefused` with the engine's own
    status and words, `EngineUnreachable` where there was no answer.

    Containers are named by id, by an id's beginning or by name, as in Docker itself.
    """

    def __init__(self, http: HTTPClient, clock: IReactorTime, address: str) -> None:
        """
        Args:
            http: Reaches the engine, whatever host a URL names.
            address: What sentences call the engine, such as ``unix:///var/run/docker.sock``.
        """
        self._http = http
        self._clock = clock
        self.address = address

    async def image(self, name: str) -> str:
        """
        The JSON that ``docker image inspect`` shows, as it is.
        """
        answer = await self.request("GET", f"/images/{_segment(name)}/json")
        return answer.decode("utf-8", "replace")

    async def container(self, reference: str) -> Container:
        """
        Look at a container.
        """
        answer = await self.request("GET", f"/containers/{_segment(reference)}/json")
        return Container.read(_read_object(answer))

    async def container_ids(self, *, stopped: bool = False) -> tuple[str, ...]:
        """
        The ids of the containers that run.

        Args:
            stopped: Those of all others as well.
        """
        answer = await self.request("GET", "/containers/json", {"all": "1"} if stopped else {})
        try:
            return tuple(container["Id"] for container in json.loads(answer))
        except (ValueError, KeyError, TypeError) as error:
            raise EngineProtocolError("the engine answered what is no list") from error

    async def kill(self, reference: str) -> None:
        """
        End a container at once, and wait for its end. Its restart policy does not bring it back
        (``docker kill``'s manual). One that doesn't run, or is not there, is left so.
        """
        target = f"/containers/{_segment(reference)}/kill"
        try:
            await self.request("POST", target, timeout_seconds=KILL_SECONDS)
        except EngineRefused as refusal:
            if refusal.status not in (404, 409):
                raise

    async def create_container(self, name: str, body: Mapping[str, Any]) -> str:
        """
        Make a container, and give its id. It is not started.
        """
        answer = await self.request(
            "POST", "/containers/create", {"name": name}, json.dumps(body).encode("ascii")
        )
        return str(_read_object(answer)["Id"])

    async def remove_container(self, reference: str) -> None:
        """
        Remove a container, running or not, with its anonymous volumes.
        """
        target = f"/containers/{_segment(reference)}"
        await self.request("DELETE", target, {"force": "1", "v": "1"}, timeout_seconds=KILL_SECONDS)

    async def read_archive(self, reference: str, path: str) -> bytes:
        """
        A file or a directory of a container's, as a tar.
        """
        return await self.request(
            "GET", f"/containers/{_segment(reference)}/archive", {"path": path}
        )

    async def write_archive(self, reference: str, path: str, archive: bytes) -> None:
        """
        Unpack a tar in a directory of a container's.
        """
        target = f"/containers/{_segment(reference)}/archive"
        await self.request("PUT", target, {"path": path}, archive, "application/x-tar")

    async def info(self) -> Mapping[str, Any]:
        """
        What ``docker info`` shows.
        """
        return _read_object(await self.request("GET", "/info"))

    async def time_seconds(self) -> int:
        """
        The engine's clock, in whole seconds since 1970.
        """
        response = await self._in_time(self._send("GET", "/_ping"), REQUEST_SECONDS)
        await self._in_time(collect(response), REQUEST_SECONDS)
        try:
            return int(
                parsedate_to_datetime(response.headers.getRawHeaders("date", [""])[0]).timestamp()
            )
        except ValueError as error:
            raise EngineProtocolError("the engine answered without a Date") from error

    async def events(self, actions: tuple[str, ...], since: str) -> EventStream:
        """
        Listen to what happens to containers, and hear of what has happened already.

        The engine answers before it has begun to listen itself (moby's ``getEvents``), so a moment
        in the past is what leaves no gap. It remembers 256 events of all kinds, and forgets them
        when it restarts.

        Args:
            actions: Of which to hear, such as ``start``.
            since: The first moment to hear of, by the engine's clock: ``1700000000.000000001``.
        """
        filters = json.dumps({"type": ["container"], "event": list(actions)})
        query = {"since": since, "filters": filters}
        response = await self._in_time(self._send("GET", "/events", query), REQUEST_SECONDS)
        if response.code != 200:
            body = await self._in_time(collect(response), REQUEST_SECONDS)
            raise EngineRefused(response.code, _message(response.code, body))
        stream = EventStream()
        response.deliverBody(stream)
        return stream

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout_seconds: float = REQUEST_SECONDS,
    ) -> bytes:
        """
        Ask for anything else.

        Args:
            path: Quoted, and without a version: the engine's own is taken.

        Returns:
            The body of the engine's answer.
        """

        async def exchange() -> bytes:
            response = await self._send(method, path, query, body, content_type)
            answer = await collect(response)
            if not 200 <= response.code < 300 and response.code != 304:
                raise EngineRefused(response.code, _message(response.code, answer))
            return answer

        return await self._in_time(exchange(), timeout_seconds)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> IResponse:
        url = f"http://docker{path}" + (f"?{urlencode(query)}" if query else "")
        headers = Headers({"Content-Type": [content_type]} if body is not None else {})
        response: IResponse = await self._http.request(
            method, url, data=body, headers=headers, allow_redirects=False, unbuffered=True
        )
        return response

    async def _in_time(self, doing: Coroutine[Any, Any, _T], limit_seconds: float) -> _T:
        exchange = Deferred.fromCoroutine(doing)
        exchange.addTimeout(limit_seconds, self._clock, onTimeoutCancel=_say_too_late)
        try:
            return await exchange
        except (EngineRefused, EngineProtocolError, CancelledError):
            raise
        except DeferredTimeoutError:
            what = f"did not answer within {limit_seconds:g} s"
        except ConnectError as error:
            what = f"can't be reached: {error}"
        except Exception as error:
            if _was_cancelled(error):
                raise CancelledError from error
            what = f"broke off: {_reason(error)}"
        raise EngineUnreachable(f"the Docker Engine at {self.address} {what}")


def connect_engine(reactor: Reactor, address: Address) -> EngineClient:
    """
    A client of the engine at an address.

    Raises:
        ConfigError: when no engine can be there.
    """
    # A connection that is kept may turn out to be closed when it is used again, and what changes
    # something can't be sent twice. To a socket on the same machine a new one costs little.
    agent = agent_to(reactor, engine_endpoint(reactor, address, None))
    return EngineClient(HTTPClient(agent), reactor, str(address))


def _segment(name: str) -> str:
    # Images have slashes in their names, which the engine takes as they are.
    return quote(name, safe="/:@")


def _read_object(answer: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(answer)
    except ValueError as error:
        raise EngineProtocolError("the engine answered what is not JSON") from error
    if not isinstance(value, dict):
        raise EngineProtocolError("the engine answered JSON that is no object")
    return value


def _message(status: int, body: bytes) -> str:
    """
    The engine's own words, where there are any.
    """
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip() or f"the engine answered with {status}"


def _say_too_late(outcome: object, limit_seconds: float) -> object:
    # An agent that is cancelled fails with what wraps that.
    if isinstance(outcome, Failure):
        raise DeferredTimeoutError(limit_seconds)
    return outcome


def _was_cancelled(error: Exception) -> bool:
    reasons: list[Failure] = getattr(error, "reasons", [])
    return any(reason.check(CancelledError) for reason in reasons)


def _reason(error: Exception) -> str:
    # `twisted.web.client.ResponseFailed` and its kin wrap what has happened.
    reasons: list[Failure] = getattr(error, "reasons", [])
    return reasons[0].getErrorMessage() if reasons else str(error)
