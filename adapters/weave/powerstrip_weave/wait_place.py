"""
Where containers get the wait program from: a directory of the host, or a volume.

I/O: files, and the engine.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from twisted.internet.defer import DeferredLock

from powerstrip.adapter.engine import EngineClient
from powerstrip.adapter.errors import EngineRefused
from powerstrip_weave.errors import WeaveError
from powerstrip_weave.rewrite import WAIT_PROGRAM, WaitBind, WaitVolume

__all__ = ["DataContainer", "HostDirectory", "WaitPlace"]

PROGRAMS = Path(__file__).parent / "programs"
"""``wait-for-weave-MACHINE`` for each machine, as ``uname -m`` calls it."""

PLACE = PurePosixPath(WAIT_PROGRAM)


class HostDirectory:
    """
    A directory of the host that is bound into containers.

    The adapter writes into it, so one that runs in a container itself has it mounted at the same
    path.
    """

    def __init__(self, engine: EngineClient, directory: str, programs: Path = PROGRAMS) -> None:
        self._engine = engine
        self._path = Path(directory) / PLACE.name
        self._programs = programs
        self._is_written = False
        self.mount = WaitBind(directory)

    async def make_ready(self) -> None:
        """
        See that the program is there.

        Raises:
            WeaveError: it can't be.
            EngineError: the engine could not be asked what machine it runs on.
        """
        if self._is_written and self._path.exists():
            return
        program = await _program(self._engine, self._programs)
        try:
            self._write(program)
        except OSError as error:
            what = f"the wait program can't be written to {self._path}: {error.strerror}"
            raise WeaveError(what) from error
        self._is_written = True

    def _write(self, program: bytes) -> None:
        """
        Replace the file in one step: containers may be starting with the old one.
        """
        directory = self._path.parent
        if not directory.exists():
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)  # for all users of containers, whatever the umask
        descriptor, new = tempfile.mkstemp(prefix=".new-", dir=directory)
        try:
            with open(descriptor, "wb") as file:
                file.write(program)
                os.fchmod(file.fileno(), 0o755)
            os.rename(new, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise


class DataContainer:
    """
    A container that is never started, and has a volume for the others to take. It is made of the
    image of the adapter's own container, so that no other image is needed.
    """

    def __init__(
        self,
        engine: EngineClient,
        name: str,
        programs: Path = PROGRAMS,
        mounts: Path = Path("/proc/self/mountinfo"),
    ) -> None:
        """
        Args:
            mounts: Where it is to be seen which container the adapter runs in.
        """
        self._engine = engine
        self._name = name
        self._programs = programs
        self._mounts = mounts
        self._lock = DeferredLock()
        self._written_to: str | None = None
        """The id of the container that is known to have the program."""

        self.mount = WaitVolume(name)

    async def make_ready(self) -> None:
        """
        See that the container is there, with the program.

        Raises:
            WeaveError: it can't be.
            EngineError: the engine did not do its part.
        """
        async with self._lock:
            container_id = await self._find() or await self._make()
            if container_id != self._written_to:
                await self._fill(container_id)
            self._written_to = container_id

    async def _find(self) -> str | None:
        try:
            return (await self._engine.container(self._name)).id
        except EngineRefused as refusal:
            if refusal.is_missing:
                return None
            raise

    async def _make(self) -> str:
        body = {
            "Image": await self._own_image(),
            "Entrypoint": [WAIT_PROGRAM],
            "Cmd": [],
            "Volumes": {str(PLACE.parent): {}},
            "HostConfig": {"NetworkMode": "none"},
        }
        return await self._engine.create_container(self._name, body)

    async def _own_image(self) -> str:
        # The engine mounts the files that it makes for a container: /etc/hostname and others.
        found = re.search(r"/containers/([0-9a-f]{64})/", self._mounts.read_text())
        try:
            if found is not None:
                return str((await self._engine.container(found[1])).inspected["Image"])
        except EngineRefused as refusal:
            if not refusal.is_missing:
                raise
        raise WeaveError(
            "--wait-container is for an adapter that runs in a container of the engine's, and this"
            " one does not; let it have a directory by --wait-directory"
        )

    async def _fill(self, container_id: str) -> None:
        program = await _program(self._engine, self._programs)
        if await self._read(container_id) != program:
            await self._engine.write_archive(container_id, str(PLACE.parent), _tar(program))

    async def _read(self, container_id: str) -> bytes | None:
        try:
            archive = await self._engine.read_archive(container_id, str(PLACE))
        except EngineRefused as refusal:
            if refusal.is_missing:
                return None
            raise
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            content = tar.extractfile(PLACE.name)
            return None if content is None else content.read()


WaitPlace: TypeAlias = HostDirectory | DataContainer


async def _program(engine: EngineClient, programs: Path) -> bytes:
    """
    The wait program for the machine that the engine runs on.
    """
    machine = str((await engine.info()).get("Architecture"))
    try:
        return (programs / f"wait-for-weave-{machine}").read_bytes()
    except OSError:
        have = sorted(path.name.removeprefix("wait-for-weave-") for path in programs.glob("*"))
        raise WeaveError(
            f"there is no wait program for the engine's machine, {machine}; there is one for:"
            f" {', '.join(have) or 'none (make wait-for-weave builds it)'}"
        ) from None


def _tar(program: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(PLACE.name)
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    return archive.getvalue()
