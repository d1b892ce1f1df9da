"""
The engine's client, against a real engine and against the fake one, which is as good for tests.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from itertools import count
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.server import Site

from powerstrip.adapter.engine import Container, EngineClient, Event, connect_engine
from powerstrip.adapter.errors import EngineProtocolError, EngineRefused, EngineUnreachable
from powerstrip.adapter.testing import FakeEngine
from powerstrip.core.addresses import TcpAddress, UnixAddress
from powerstrip.net.reactor import Reactor
from tests.net.harness import descriptors, until
from tests.net.peers import Listener, reactor

SERIAL = count()
NOBODY = "0" * 64


class Stage:
    """
    A client and the containers of one test.
    """

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.prefix = f"kit-{next(SERIAL)}"
        self._made: list[str] = []

    async def create(self, name: str = "box", **config: Any) -> str:
        """
        Make a container, which sleeps when it is started.
        """
        body = {"Image": "busybox", "Cmd": ["sleep", "1000"], **config}
        container_id = await self.client.create_container(f"{self.prefix}-{name}", body)
        self._made.append(container_id)
        return container_id

    async def run(self, name: str = "box", **config: Any) -> str:
        """
        Make a container and start it.
        """
        container_id = await self.create(name, **config)
        await self.start(container_id)
        return container_id

    async def start(self, container_id: str) -> None:
        """
        Start a container.
        """
        await self.client.request("POST", f"/containers/{container_id}/start")

    async def clean(self) -> None:
        """
        Remove what was made.
        """
        for container_id in self._made:
            if container_id in await self.client.container_ids(stopped=True):
                await self.client.remove_container(container_id)


@pytest_twisted.async_yield_fixture(params=["fake", pytest.param("real", marks=pytest.mark.engine)])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """
    A real engine and a fake one.
    """
    if request.param == "fake":
        fake = FakeEngine()
        fake.add_image("busybox", Env=None, Cmd=["sh"])
        client = fake.client
    else:
        socket = UnixAddress(str(request.getfixturevalue("private_engine").socket))
        client = connect_engine(cast(Reactor, reactor), socket)
    before = descriptors()
    stage = Stage(client)
    yield stage
    await stage.clean()
    await until(lambda: descriptors() <= before, "all connections are closed")


class TestEngine:
    """
    What the client promises, of the real engine as of the fake one.
    """

    @pytest_twisted.ensureDeferred
    async def test_a_running_container_is_seen_by_any_of_its_names(self, stage: Stage) -> None:
        """
        By id, by a part of the id, and by name.
        """
        container_id = await stage.run(Env=["A=b=c", "WEAVE_CIDR=10.0.0.1/8"])
        for reference in (container_id, container_id[:12], f"{stage.prefix}-box"):
            container = await stage.client.container(reference)
            assert container.id == container_id
            assert container.name == f"{stage.prefix}-box"
            assert container.is_running
            assert container.pid > 1
            assert container.network_mode == "default"
            assert container.environment[:2] == ("A=b=c", "WEAVE_CIDR=10.0.0.1/8")

    @pytest_twisted.ensureDeferred
    async def test_one_that_was_never_started_does_not_run(self, stage: Stage) -> None:
        """
        It has no process.
        """
        container = await stage.client.container(await stage.create())
        assert (container.pid, container.is_running) == (0, False)

    @pytest_twisted.ensureDeferred
    async def test_its_network_mode_is_seen(self, stage: Stage) -> None:
        """
        As the request that made it has it.
        """
        container_id = await stage.create(HostConfig={"NetworkMode": "host"})
        assert (await stage.client.container(container_id)).network_mode == "host"

    @pytest_twisted.ensureDeferred
    async def test_each_start_is_another_one(self, stage: Stage) -> None:
        """
        By its moment.
        """
        container_id = await stage.run()
        first = await stage.client.container(container_id)
        await stage.client.kill(container_id)
        await stage.start(container_id)
        second = await stage.client.container(container_id)
        assert first.started_at != second.started_at
        assert first.pid != second.pid

    @pytest_twisted.ensureDeferred
    async def test_what_is_not_there_is_missing(self, stage: Stage) -> None:
        """
        With the engine's own status and words.
        """
        with pytest.raises(EngineRefused) as caught:
            await stage.client.container(NOBODY)
        assert caught.value.is_missing
        assert caught.value.status == 404
        assert str(caught.value) == f"No such container: {NOBODY}"
        with pytest.raises(EngineRefused) as caught:
            await stage.client.image("no/such:image")
        assert caught.value.is_missing
        assert "no such image: no/such:image" in str(caught.value).lower()

    @pytest_twisted.ensureDeferred
    async def test_an_image_is_shown_as_it_is(self, stage: Stage) -> None:
        """
        In the engine's own JSON.
        """
        assert '"Config":' in await stage.client.image("busybox")

    @pytest_twisted.ensureDeferred
    async def test_those_that_run_are_listed(self, stage: Stage) -> None:
        """
        And the others where that is asked for.
        """
        running, stopped = await stage.run("one"), await stage.create("two")
        listed = await stage.client.container_ids()
        assert (running in listed, stopped in listed) == (True, False)
        listed = await stage.client.container_ids(stopped=True)
        assert (running in listed, stopped in listed) == (True, True)

    @pytest_twisted.ensureDeferred
    async def test_a_killed_container_has_ended(self, stage: Stage) -> None:
        """
        When the kill is answered, and its restart policy does not bring it back.
        """
        policy = {"RestartPolicy": {"Name": "always"}}
        container_id = await stage.run(HostConfig=policy)
        await stage.client.kill(container_id)
        for _ in range(20):
            assert not (await stage.client.container(container_id)).is_running
        assert container_id not in await stage.client.container_ids()

    @pytest_twisted.ensureDeferred
    async def test_what_does_not_run_may_be_killed(self, stage: Stage) -> None:
        """
        Nothing happens, and that it is not there is no matter either.
        """
        await stage.client.kill(await stage.create())
        await stage.client.kill(NOBODY)

    @pytest_twisted.ensureDeferred
    async def test_a_removed_container_is_gone(self, stage: Stage) -> None:
        """
        Though it ran.
        """
        container_id = await stage.run()
        await stage.client.remove_container(container_id)
        with pytest.raises(EngineRefused) as caught:
            await stage.client.container(container_id)
        assert caught.value.is_missing

    @pytest_twisted.ensureDeferred
    async def test_a_name_is_one_containers_only(self, stage: Stage) -> None:
        """
        A second one is a conflict.
        """
        await stage.create()
        with pytest.raises(EngineRefused) as caught:
            await stage.create()
        assert caught.value.status == 409

    @pytest_twisted.ensureDeferred
    async def test_files_come_and_go_as_archives(self, stage: Stage) -> None:
        """
        In a container that was never started, in a volume of its own.
        """
        container_id = await stage.create(Volumes={"/place": {}})
        with pytest.raises(EngineRefused) as caught:
            await stage.client.read_archive(container_id, "/place/file")
        assert caught.value.is_missing
        await stage.client.write_archive(container_id, "/place", tar_of("file", b"content"))
        archive = await stage.client.read_archive(container_id, "/place/file")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            (entry,) = tar
            assert entry.name == "file"
            assert cast(Any, tar.extractfile(entry)).read() == b"content"

    @pytest_twisted.ensureDeferred
    async def test_it_says_what_it_runs_on(self, stage: Stage) -> None:
        """
        As ``uname -m`` has it.
        """
        assert (await stage.client.info())["Architecture"] in ("x86_64", "aarch64")

    @pytest_twisted.ensureDeferred
    async def test_events_come_as_they_happen(self, stage: Stage) -> None:
        """
        Those that were asked for, in their order.
        """
        since = str(await stage.client.time_seconds())
        stream = await stage.client.events(("start", "die", "destroy"), since)
        container_id = await stage.run()
        await stage.client.kill(container_id)
        await stage.client.remove_container(container_id)
        seen = [event async for event in of(container_id, stream, 3)]
        stream.close()
        assert [event.action for event in seen] == ["start", "die", "destroy"]
        assert [event.attributes["name"] for event in seen] == [f"{stage.prefix}-box"] * 3
        assert sorted(event.time_nano for event in seen) == [event.time_nano for event in seen]

    @pytest_twisted.ensureDeferred
    async def test_what_happened_since_a_moment_is_told_again(self, stage: Stage) -> None:
        """
        The moment itself included, in nanoseconds.
        """
        since = str(await stage.client.time_seconds())
        container_id = await stage.run()
        await stage.client.kill(container_id)
        stream = await stage.client.events(("start", "die"), since)
        start, die = [event async for event in of(container_id, stream, 2)]
        stream.close()
        assert (start.action, die.action) == ("start", "die")
        seconds, nanos = divmod(die.time_nano, 10**9)
        stream = await stage.client.events(("start", "die"), f"{seconds}.{nanos:09d}")
        (again,) = [event async for event in of(container_id, stream, 1)]
        stream.close()
        assert again == die


async def of(container_id: str, stream: Any, expected: int) -> AsyncIterator[Event]:
    """
    So many events of one container.
    """
    while expected:
        event = await Deferred.fromCoroutine(stream.__anext__()).addTimeout(10, reactor)
        if event.container_id == container_id:
            expected -= 1
            yield event


def tar_of(name: str, content: bytes) -> bytes:
    """
    A tar with one file.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


# Where the engine does not do its part


@pytest_twisted.ensureDeferred
async def test_an_engine_that_is_not_there_is_named(short_tmp: Any) -> None:
    """
    By its address, as it was given.
    """
    address = UnixAddress(f"{short_tmp}/none.sock")
    with pytest.raises(EngineUnreachable) as caught:
        await connect_engine(cast(Reactor, reactor), address).info()
    sentence = f"the Docker Engine at unix://{short_tmp}/none.sock can't be reached: "
    assert str(caught.value).startswith(sentence)


@pytest_twisted.ensureDeferred
async def test_an_engine_may_be_on_tcp() -> None:
    """
    The client asks it as it would on a socket.
    """
    fake = FakeEngine()
    site = Site(fake.app.resource())
    site.noisy = False
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    address = TcpAddress("127.0.0.1", port.getHost().port)
    assert await connect_engine(cast(Reactor, reactor), address).info() == fake.info
    await port.stopListening()


def test_an_engine_that_says_nothing_is_not_waited_for_for_ever() -> None:
    """
    The sentence says how long.
    """
    fake = FakeEngine()
    fake.is_silent = True
    asking = Deferred.fromCoroutine(fake.client.info())
    fake.clock.advance(29)
    assert not asking.called
    fake.clock.advance(1)
    sentence = "the Docker Engine at unix:///fake.sock did not answer within 30 s"
    assert str(error_of(asking, EngineUnreachable)) == sentence


@pytest_twisted.ensureDeferred
async def test_an_answer_that_stops_halfway_is_not_waited_for(short_tmp: Any) -> None:
    """
    And the connection is closed.
    """
    before = descriptors()
    engine = Listener(f"{short_tmp}/e.sock")
    clock = FakeEngine().clock
    client = connect_engine(cast(Reactor, reactor), UnixAddress(f"{short_tmp}/e.sock"))
    client._clock = clock
    asking = Deferred.fromCoroutine(client.info())
    peer = await engine.accept()
    await peer.read_head()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
    await until(lambda: bool(clock.getDelayedCalls()), "it waits")
    clock.advance(30)
    with pytest.raises(EngineUnreachable):
        await asking
    assert await peer.sees_the_end()
    peer.close()
    engine.close()
    await until(lambda: descriptors() <= before, "all is closed")


@pytest.mark.parametrize("gives_up", [True, False])
@pytest_twisted.ensureDeferred
async def test_an_engine_that_never_answers_is_not_one_that_broke_off(
    short_tmp: Any, gives_up: bool
) -> None:
    """
    Nor is it where nobody waits for the answer any more.
    """
    engine = Listener(f"{short_tmp}/e.sock")
    clock = FakeEngine().clock
    client = connect_engine(cast(Reactor, reactor), UnixAddress(f"{short_tmp}/e.sock"))
    client._clock = clock
    asking = Deferred.fromCoroutine(client.info())
    peer = await engine.accept()
    await peer.read_head()
    if gives_up:
        asking.cancel()
        with pytest.raises(CancelledError):
            await asking
    else:
        clock.advance(30)
        with pytest.raises(EngineUnreachable, match="did not answer within 30 s"):
            await asking
    assert await peer.sees_the_end()
    peer.close()
    engine.close()


@pytest.mark.parametrize(
    ("answer", "error", "sentence"),
    [
        (b"", EngineUnreachable, "the Docker Engine at unix://{} broke off: "),
        (
            b"HTTP/1.1 500 X\r\nContent-Length: 15\r\n\r\n" + b'{"message":"x"}',
            EngineRefused,
            "x",
        ),
        (b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\nplain", EngineRefused, "plain"),
        (
            b"HTTP/1.1 301 X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            EngineRefused,
            "the engine answered with 301",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
            EngineProtocolError,
            "the engine answered what is not JSON",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
            EngineProtocolError,
            "the engine answered JSON that is no object",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            EngineProtocolError,
            "the engine answered what is no container: KeyError('State')",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_every_failure_has_its_sentence(
    short_tmp: Any, answer: bytes, error: type[Exception], sentence: str
) -> None:
    """
    The engine's own, where it has one.
    """
    engine = Listener(f"{short_tmp}/e.sock")
    client = connect_engine(cast(Reactor, reactor), UnixAddress(f"{short_tmp}/e.sock"))
    asking = Deferred.fromCoroutine(client.container("x"))
    peer = await engine.accept()
    head = await peer.read_head()
    assert head.startswith(b"GET /containers/x/json HTTP/1.1\r\n")
    await peer.send(answer)
    peer.close()
    with pytest.raises(error) as caught:
        await asking
    assert str(caught.value).startswith(sentence.format(f"{short_tmp}/e.sock"))
    engine.close()


def test_a_container_that_waits_for_its_restart_does_not_run() -> None:
    """
    The engine calls it running all the same.
    """
    state = {"Running": True, "Restarting": True, "Pid": 0, "StartedAt": "x"}
    inspected = {"Id": "1", "Name": "/n", "State": state, "Config": {}, "HostConfig": {}}
    assert not Container.read(inspected).is_running


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b'{"Actor": {"ID": "x"}, "Action": "start"}'])
def test_a_line_that_is_no_event_is_said_to_be_none(line: bytes) -> None:
    """
    It is not passed over.
    """
    with pytest.raises(EngineProtocolError, match="the engine sent what is no event: "):
        Event.read(line)


def error_of(asking: Deferred[Any], kind: type[Exception]) -> BaseException:
    """
    What has become of a call that has failed.
    """
    caught: list[Any] = []
    asking.addErrback(caught.append)
    (failure,) = caught
    assert failure.check(kind)
    return cast(BaseException, failure.value)
