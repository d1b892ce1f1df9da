"""
For tests of adapters: an engine in memory, which the same tests hold for as for a real one.

I/O: none. The `EngineClient` that it gives speaks true HTTP to it, in memory.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, cast

from attrs import define, field
from klein import Klein
from treq.client import HTTPClient
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError as EngineIsDown
from twisted.internet.task import Clock
from twisted.web.http import datetimeToString
from twisted.web.iweb import IRequest

from powerstrip.adapter.engine import EngineClient

__all__ = ["FakeContainer", "FakeEngine"]

EPOCH_SECONDS = 1_700_000_000
"""What the clock of a fake engine shows first: dates from before 1970 can't be sent."""


class _Problem(Exception):
    """
    An answer that is an error.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@define
class FakeContainer:
    """
    A container of a fake engine.
    """

    id: str
    name: str
    config: dict[str, Any]
    """The body of the request that made it."""

    pid: int = 0
    started_at: str = "0001-01-01T00:00:00Z"
    files: dict[str, bytes] = field(factory=dict)
    """By path, what was unpacked in it."""

    @property
    def inspected(self) -> dict[str, Any]:
        """
        What ``docker inspect`` shows.
        """
        config = {key: value for key, value in self.config.items() if key != "HostConfig"}
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Image": self.config.get("Image"),
            "State": {"Running": self.pid > 0, "Pid": self.pid, "StartedAt": self.started_at},
            "Config": config,
            "HostConfig": {"NetworkMode": "default", **self.config.get("HostConfig", {})},
        }


@define
class _Listener:
    request: Any
    actions: Sequence[str]


class FakeEngine:
    """
    An engine in memory. Its containers have no processes; a test starts and ends them.
    """

    app = Klein()

    def __init__(self) -> None:
        self.clock = Clock()
        """Its time, and that of its client, which a test moves on."""

        self.clock.advance(EPOCH_SECONDS)
        self.is_up = True
        """Whether it can be reached."""

        self.is_silent = False
        """Whether it answers nothing to whoever reaches it."""

        self.info: dict[str, Any] = {"Architecture": "x86_64", "OSType": "linux"}
        self.images: dict[str, dict[str, Any]] = {}
        """By name, what ``docker image inspect`` shows."""

        self.containers: dict[str, FakeContainer] = {}
        """By id."""

        self.requests: list[str] = []
        """What it was asked, as in ``GET /info``, without the query."""

        self._serial = 0
        self._events: list[dict[str, Any]] = []
        self._listeners: list[_Listener] = []
        http = _InMemory(self)
        self._flush = http.flush
        self.client = EngineClient(cast(HTTPClient, http), self.clock, "unix:///fake.sock")

    # What a test does

    def add_image(self, name: str, **config: Any) -> None:
        """
        Have an image.

        Args:
            config: Members of its ``Config``, such as ``Env``.
        """
        self.images[name] = {"Id": f"sha256:{sha256(name.encode()).hexdigest()}", "Config": config}

    def run(self, name: str, *environment: str, **host_config: Any) -> str:
        """
        Make a container, start it, and give its id.

        Args:
            environment: ``NAME=value``.
        """
        config = {"Image": "busybox", "Env": list(environment), "HostConfig": host_config}
        container_id = self._create(name, config)
        self.start(container_id)
        return container_id

    def start(self, reference: str) -> None:
        """
        Start a container that doesn't run.
        """
        container = self._find(reference)
        self._serial += 1
        container.pid = 1000 + self._serial
        container.started_at = f"2023-11-14T22:13:20.{self._serial:09d}Z"
        self._tell("start", container)

    def die(self, reference: str) -> None:
        """
        Let the process of a running container end.
        """
        container = self._find(reference)
        container.pid = 0
        self._tell("die", container)

    def remove(self, reference: str) -> None:
        """
        Remove a container.
        """
        container = self._find(reference)
        if container.pid:
            self.die(container.id)
        del self.containers[container.id]
        self._tell("destroy", container)

    def hang_up(self) -> None:
        """
        End the connections of all who listen to events, as an engine does that stops.
        """
        for listener in self._listeners[:]:
            listener.request.transport.loseConnection()
        self._listeners.clear()
        self._flush()

    def forget_events(self) -> None:
        """
        Remember no event, as an engine that was restarted.
        """
        self._events.clear()

    # What it does

    def _create(self, name: str, config: dict[str, Any]) -> str:
        if any(container.name == name for container in self.containers.values()):
            raise _Problem(409, f'Conflict. The container name "/{name}" is already in use')
        if config.get("Image") not in {"busybox", *self.images}:
            raise _Problem(404, f"No such image: {config.get('Image')}")
        self._serial += 1
        container_id = sha256(b"%d" % self._serial).hexdigest()
        self.containers[container_id] = FakeContainer(container_id, name, config)
        return container_id

    def _find(self, reference: str) -> FakeContainer:
        for container in self.containers.values():
            if reference in (container.id, container.name):
                return container
        found = [it for it in self.containers.values() if it.id.startswith(reference)]
        if len(found) != 1:
            raise _Problem(404, f"No such container: {reference}")
        return found[0]

    def _tell(self, action: str, container: FakeContainer) -> None:
        self._serial += 1
        event = {
            "Type": "container",
            "Action": action,
            "Actor": {"ID": container.id, "Attributes": {"name": container.name}},
            "timeNano": int(self.clock.seconds()) * 10**9 + self._serial,
        }
        self._events.append(event)
        for listener in self._listeners:
            if action in listener.actions:
                listener.request.write(json.dumps(event).encode() + b"\n")
        self._flush()

    # What it answers

    @app.handle_errors(_Problem)
    def _problem(self, request: IRequest, failure: Any) -> bytes:
        request.setResponseCode(failure.value.status)
        return _json(request, {"message": str(failure.value)})

    @app.route("/_ping")
    def _ping(self, request: IRequest) -> bytes:
        request.setHeader(b"Date", datetimeToString(self.clock.seconds()))
        return b"OK"

    @app.route("/info")
    def _info(self, request: IRequest) -> bytes:
        return _json(request, self.info)

    @app.route("/images/<path:name>/json")
    def _image(self, request: IRequest, name: str) -> bytes:
        if name not in self.images:
            raise _Problem(404, f"No such image: {name}")
        return _json(request, self.images[name])

    @app.route("/containers/json")
    def _list(self, request: IRequest) -> bytes:
        with_stopped = request.args.get(b"all") == [b"1"]
        shown = [it for it in self.containers.values() if it.pid or with_stopped]
        return _json(request, [{"Id": container.id} for container in shown])

    @app.route("/containers/create", methods=["POST"])
    def _create_container(self, request: IRequest) -> bytes:
        name = request.args[b"name"][0].decode()
        container_id = self._create(name, json.load(request.content))
        request.setResponseCode(201)
        return _json(request, {"Id": container_id, "Warnings": []})

    @app.route("/containers/<reference>/json")
    def _inspect(self, request: IRequest, reference: str) -> bytes:
        return _json(request, self._find(reference).inspected)

    @app.route("/containers/<reference>/start", methods=["POST"])
    def _start(self, request: IRequest, reference: str) -> bytes:
        container = self._find(reference)
        request.setResponseCode(304 if container.pid else 204)
        if not container.pid:
            self.start(container.id)
        return b""

    @app.route("/containers/<reference>/kill", methods=["POST"])
    def _kill(self, request: IRequest, reference: str) -> bytes:
        container = self._find(reference)
        if not container.pid:
            raise _Problem(409, f"Container {container.id} is not running")
        self.die(container.id)
        if container.config.get("HostConfig", {}).get("AutoRemove"):
            self.remove(container.id)
        request.setResponseCode(204)
        return b""

    @app.route("/containers/<reference>", methods=["DELETE"])
    def _remove_container(self, request: IRequest, reference: str) -> bytes:
        self.remove(reference)
        request.setResponseCode(204)
        return b""

    @app.route("/containers/<reference>/archive", methods=["GET"])
    def _read_archive(self, request: IRequest, reference: str) -> bytes:
        container, path = self._find(reference), request.args[b"path"][0].decode()
        if path not in container.files:
            raise _Problem(404, f"Could not find the file {path} in container {reference}")
        request.setHeader(b"Content-Type", b"application/x-tar")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(PurePosixPath(path).name)
            entry.size, entry.mode = len(container.files[path]), 0o755
            tar.addfile(entry, io.BytesIO(container.files[path]))
        return archive.getvalue()

    @app.route("/containers/<reference>/archive", methods=["PUT"])
    def _write_archive(self, request: IRequest, reference: str) -> bytes:
        container, path = self._find(reference), request.args[b"path"][0].decode()
        with tarfile.open(fileobj=request.content) as tar:
            for entry in filter(tarfile.TarInfo.isfile, tar):
                content = cast(Any, tar.extractfile(entry)).read()
                container.files[str(PurePosixPath(path) / entry.name)] = content
        return b""

    @app.route("/events")
    def _listen(self, request: IRequest) -> Deferred[None]:
        actions = json.loads(request.args[b"filters"][0])["event"]
        seconds, _, nanos = request.args[b"since"][0].partition(b".")
        since = int(seconds) * 10**9 + int(nanos or b"0")
        request.setHeader(b"Content-Type", b"application/json")
        request.write(b"")  # the head
        for event in self._events:
            if event["timeNano"] >= since and event["Action"] in actions:
                request.write(json.dumps(event).encode() + b"\n")
        listener = _Listener(request, actions)
        self._listeners.append(listener)
        cast(Any, request).notifyFinish().addErrback(lambda _: self._forget(listener))
        return Deferred()

    def _forget(self, listener: _Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)


class _InMemory:
    """
    An HTTP client that reaches the fake.
    """

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._stub = StubTreq(engine.app.resource())
        self._is_flushing = False
        self._is_dirty = False

    def request(self, method: str, url: str, **more: Any) -> Deferred[Any]:
        if not self._engine.is_up:
            return fail(EngineIsDown())
        if self._engine.is_silent:
            return Deferred()
        path = url.removeprefix("http://docker").partition("?")[0]
        self._engine.requests.append(f"{method} {path}")
        answer: Deferred[Any] = cast(Any, self._stub).request(method, url, **more)
        return answer

    def flush(self) -> None:
        """
        Have delivered what was written, and what is written for that.
        """
        self._is_dirty = True
        if self._is_flushing:
            return
        self._is_flushing = True
        while self._is_dirty:
            self._is_dirty = False
            self._stub.flush()
        self._is_flushing = False


def _json(request: IRequest, value: object) -> bytes:
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(value).encode("ascii")
