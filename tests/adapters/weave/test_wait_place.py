"""
How the wait program gets to where containers take it from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from powerstrip_weave.errors import WeaveError
from powerstrip_weave.rewrite import WAIT_PROGRAM, WaitBind, WaitVolume
from powerstrip_weave.wait_place import PROGRAMS, DataContainer, HostDirectory
from twisted.internet.defer import Deferred, gatherResults

from demo.engine import PrivateEngine, why_not
from powerstrip.adapter.engine import EngineClient, connect_engine
from powerstrip.adapter.errors import EngineRefused, EngineUnreachable
from powerstrip.adapter.testing import FakeEngine
from powerstrip.core.addresses import UnixAddress
from powerstrip.net.reactor import Reactor
from tests.net.peers import reactor

PROGRAM = b"#!/bin/sh\necho it is $0 of x86_64\n"
OTHER_PROGRAM = b"#!/bin/sh\necho it is $0 of aarch64\n"
NAME = "wait-place"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """
    Programs for two machines.
    """
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "wait-for-weave-x86_64").write_bytes(PROGRAM)
    (programs / "wait-for-weave-aarch64").write_bytes(OTHER_PROGRAM)
    return programs


@pytest.fixture(scope="module")
def private_engine() -> Iterator[PrivateEngine]:
    """
    A real engine with the image busybox.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with PrivateEngine(Path("/tmp/powerstrip-tests"), f"place-{os.getpid()}") as engine:
        engine.import_busybox()
        yield engine


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.engine)])
def engine(request: pytest.FixtureRequest) -> EngineClient:
    """
    A client of a fake engine and of a real one.
    """
    if request.param == "fake":
        return FakeEngine().client
    socket = request.getfixturevalue("private_engine").socket
    return connect_engine(cast(Reactor, reactor), UnixAddress(str(socket)))


# A directory of the host


@pytest_twisted.ensureDeferred
async def test_a_directory_is_made_for_everyone_to_read(tmp_path: Path, programs: Path) -> None:
    """
    Whatever user a container runs as, and whatever umask the adapter has.
    """
    directory = tmp_path / "var" / "bin"
    place = HostDirectory(FakeEngine().client, str(directory), programs)
    before = os.umask(0o077)
    try:
        await place.make_ready()
    finally:
        os.umask(before)
    assert place.mount == WaitBind(str(directory))
    assert [path.name for path in directory.iterdir()] == ["wait-for-weave"]
    assert (directory / "wait-for-weave").read_bytes() == PROGRAM
    assert (directory / "wait-for-weave").stat().st_mode & 0o7777 == 0o755
    assert directory.stat().st_mode & 0o7777 == 0o755


@pytest_twisted.ensureDeferred
async def test_the_program_is_that_of_the_engines_machine(tmp_path: Path, programs: Path) -> None:
    """
    Which may be another one than the adapter's.
    """
    engine = FakeEngine()
    engine.info["Architecture"] = "aarch64"
    await HostDirectory(engine.client, str(tmp_path / "bin"), programs).make_ready()
    assert (tmp_path / "bin" / "wait-for-weave").read_bytes() == OTHER_PROGRAM


@pytest_twisted.ensureDeferred
async def test_an_older_program_is_replaced_in_one_step(tmp_path: Path, programs: Path) -> None:
    """
    A container that starts meanwhile has the old one or the new one.
    """
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "wait-for-weave").write_bytes(b"old")
    with (directory / "wait-for-weave").open("rb") as running:
        await HostDirectory(FakeEngine().client, str(directory), programs).make_ready()
        assert running.read() == b"old"
    assert (directory / "wait-for-weave").read_bytes() == PROGRAM


@pytest_twisted.ensureDeferred
async def test_a_program_that_is_there_is_left_alone(tmp_path: Path, programs: Path) -> None:
    """
    The engine is asked once; what somebody has removed is written again.
    """
    engine = FakeEngine()
    place = HostDirectory(engine.client, str(tmp_path / "bin"), programs)
    await place.make_ready()
    inode = (tmp_path / "bin" / "wait-for-weave").stat().st_ino
    await place.make_ready()
    assert (tmp_path / "bin" / "wait-for-weave").stat().st_ino == inode
    assert engine.requests == ["GET /info"]
    (tmp_path / "bin" / "wait-for-weave").unlink()
    await place.make_ready()
    assert (tmp_path / "bin" / "wait-for-weave").read_bytes() == PROGRAM


@pytest_twisted.ensureDeferred
async def test_a_directory_that_cant_be_written_is_named(tmp_path: Path, programs: Path) -> None:
    """
    And why.
    """
    (tmp_path / "file").touch()
    place = HostDirectory(FakeEngine().client, f"{tmp_path}/file/bin", programs)
    with pytest.raises(WeaveError) as caught:
        await place.make_ready()
    sentence = f"the wait program can't be written to {tmp_path}/file/bin/wait-for-weave: "
    assert str(caught.value) == sentence + "Not a directory"


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_a_program_that_cant_be_written(
    tmp_path: Path, programs: Path
) -> None:
    """
    Here a directory is in its place.
    """
    (tmp_path / "bin" / "wait-for-weave").mkdir(parents=True)
    place = HostDirectory(FakeEngine().client, str(tmp_path / "bin"), programs)
    with pytest.raises(WeaveError, match="Is a directory"):
        await place.make_ready()
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["wait-for-weave"]


@pytest_twisted.ensureDeferred
async def test_a_machine_without_a_program_is_named(tmp_path: Path) -> None:
    """
    And how to come by one, where none was built.
    """
    place = HostDirectory(FakeEngine().client, str(tmp_path / "bin"), tmp_path)
    with pytest.raises(WeaveError) as caught:
        await place.make_ready()
    assert str(caught.value) == (
        "there is no wait program for the engine's machine, x86_64; there is one for:"
        " none (make wait-for-weave builds it)"
    )


@pytest_twisted.ensureDeferred
async def test_an_engine_that_cant_be_asked_is_another_matter(
    tmp_path: Path, programs: Path
) -> None:
    """
    It may be asked the next time.
    """
    engine = FakeEngine()
    place = HostDirectory(engine.client, str(tmp_path / "bin"), programs)
    engine.is_up = False
    with pytest.raises(EngineUnreachable):
        await place.make_ready()
    engine.is_up = True
    await place.make_ready()


def test_the_programs_are_where_they_are_built() -> None:
    """
    In the package.
    """
    assert PROGRAMS.parent.name == "powerstrip_weave"


# A container with a volume


class InContainer:
    """
    A place for the program, of an adapter that runs in a container of an engine.
    """

    def __init__(self, engine: EngineClient, programs: Path, tmp_path: Path) -> None:
        self.engine = engine
        self._programs = programs
        self._mounts = tmp_path / "mountinfo"

    async def enter(self) -> None:
        """
        Let the adapter be in a container.
        """
        body = {"Image": "busybox", "Cmd": ["sleep", "1000"]}
        own = await self.engine.create_container("adapter", body)
        self._mounts.write_text(
            "1 2 0:1 / / rw - overlay overlay rw\n"
            f"3 1 8:1 /docker/containers/{own}/hostname /etc/hostname rw - ext4 /dev/x rw\n"
        )

    def new_place(self) -> DataContainer:
        """
        That of an adapter that has just been started.
        """
        return DataContainer(self.engine, NAME, self._programs, self._mounts)

    async def leave(self) -> None:
        """
        Remove all that there is.
        """
        for name in ("adapter", NAME, "user"):
            try:
                await self.engine.remove_container(name)
            except EngineRefused as refusal:
                if not refusal.is_missing:
                    raise


@pytest_twisted.async_yield_fixture
async def inside(engine: EngineClient, programs: Path, tmp_path: Path) -> Any:
    """
    An adapter in a container.
    """
    inside = InContainer(engine, programs, tmp_path)
    await inside.enter()
    yield inside
    await inside.leave()


class TestDataContainer:
    """
    What holds for the container with the program, in a real engine as in the fake one.
    """

    @pytest_twisted.ensureDeferred
    async def test_it_has_the_adapters_own_image_and_never_runs(self, inside: InContainer) -> None:
        """
        No other image may be there.
        """
        place = inside.new_place()
        await place.make_ready()
        assert place.mount == WaitVolume(NAME)
        made = await inside.engine.container(NAME)
        own = await inside.engine.container("adapter")
        assert made.inspected["Image"] == own.inspected["Image"]
        assert made.started_at.startswith("0001-")

    @pytest_twisted.ensureDeferred
    async def test_it_is_made_once(self, inside: InContainer) -> None:
        """
        Also by many at the same time, and by an adapter that is started again.
        """
        place = inside.new_place()
        await gatherResults([Deferred.fromCoroutine(place.make_ready()) for _ in range(5)])
        made = await inside.engine.container(NAME)
        await inside.new_place().make_ready()
        assert (await inside.engine.container(NAME)).id == made.id

    @pytest_twisted.ensureDeferred
    async def test_one_that_was_removed_is_made_again(self, inside: InContainer) -> None:
        """
        ``docker container prune`` takes what doesn't run.
        """
        place = inside.new_place()
        await place.make_ready()
        await inside.engine.remove_container(NAME)
        await place.make_ready()
        assert await inside.engine.read_archive(NAME, WAIT_PROGRAM)

    @pytest_twisted.ensureDeferred
    async def test_an_older_program_is_replaced(self, inside: InContainer, programs: Path) -> None:
        """
        When a newer adapter is started; one that died before it had filled the volume is no matter.
        """
        machine = (await inside.engine.info())["Architecture"]
        program = programs / f"wait-for-weave-{machine}"
        ours = program.read_bytes()
        program.write_bytes(b"old")
        await inside.new_place().make_ready()
        program.write_bytes(ours)
        await inside.new_place().make_ready()
        assert ours in await inside.engine.read_archive(NAME, WAIT_PROGRAM)

    @pytest_twisted.ensureDeferred
    async def test_an_adapter_that_is_in_no_container_says_so(self, inside: InContainer) -> None:
        """
        And what to do instead.
        """
        inside._mounts.write_text("1 2 0:1 / / rw - overlay overlay rw\n")
        with pytest.raises(WeaveError, match="let it have a directory by --wait-directory"):
            await inside.new_place().make_ready()

    @pytest_twisted.ensureDeferred
    async def test_a_container_of_another_engine_is_none(self, inside: InContainer) -> None:
        """
        An engine in a container, say.
        """
        inside._mounts.write_text(f"3 1 8:1 /containers/{'e' * 64}/hostname /etc/hostname rw\n")
        with pytest.raises(WeaveError, match="let it have a directory by --wait-directory"):
            await inside.new_place().make_ready()


@pytest.mark.engine
@pytest_twisted.ensureDeferred
async def test_a_container_runs_the_program_from_the_volume(
    private_engine: PrivateEngine, programs: Path, tmp_path: Path
) -> None:
    """
    As any user, and can't change it.
    """
    socket = UnixAddress(str(private_engine.socket))
    inside = InContainer(connect_engine(cast(Reactor, reactor), socket), programs, tmp_path)
    await inside.enter()
    place = inside.new_place()
    await place.make_ready()
    body = {
        "Image": "busybox",
        "User": "1000",
        "Entrypoint": ["sh", "-c", f"{WAIT_PROGRAM}; touch {WAIT_PROGRAM}"],
        "HostConfig": {"VolumesFrom": [place.mount.entry]},
        "Tty": True,
    }
    await inside.engine.create_container("user", body)
    await inside.engine.request("POST", "/containers/user/start")
    await inside.engine.request("POST", "/containers/user/wait")
    log = await inside.engine.request("GET", "/containers/user/logs", {"stdout": "1"})
    assert f"it is {WAIT_PROGRAM} of ".encode() in log
    assert b"Read-only file system" in log
    await inside.leave()
