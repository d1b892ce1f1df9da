"""
What a real engine does with containers whose dataset isn't writable here any more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.storage.btrfs import BtrfsStorage
from powerstrip_flocker.storage.command import StorageReactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from demo.engine import PrivateEngine, why_not
from tests.adapters.flocker.storage.pools import BtrfsFile, why_no_btrfs

pytestmark = pytest.mark.engine

ENGINES = Path("/tmp/powerstrip-tests")
TRIES = 150
TRY_SECONDS = 0.2

WRITE_AND_FAIL = ("sh", "-c", "echo written >> /data/file; exit 1")


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    reason = why_not() or why_no_btrfs()
    if reason is not None:
        pytest.skip(reason)
    with PrivateEngine(ENGINES, f"links-{os.getpid()}") as engine:
        engine.import_busybox()
        yield engine


@pytest.fixture
def storage(reactor: StorageReactor, engine: PrivateEngine) -> Iterator[BtrfsStorage]:
    """
    Has the dataset test1, writable.
    """
    with BtrfsFile() as file:
        storage = BtrfsStorage(reactor, file.mount_point)
        for step in (storage.start(), storage.create("test1")):
            pytest_twisted.blockon(Deferred.fromCoroutine(step))
        yield storage


def asked(engine: PrivateEngine, method: str, target: str, body: object = None) -> Any:
    """
    What the engine answers.

    Raises:
        AssertionError: An error, with what it says.
    """
    status, answer = engine.request(method, target, json.dumps(body).encode() if body else b"")
    assert status < 400, answer.decode()
    return json.loads(answer) if answer else None


def created(engine: PrivateEngine, command: Sequence[str], **host_config: object) -> str:
    """
    A new container's path in the engine's API.
    """
    body = {"Image": "busybox", "Cmd": command, "HostConfig": host_config}
    return f"/containers/{asked(engine, 'POST', '/containers/create', body)['Id']}"


def check_nothing_was_made(storage: BtrfsStorage) -> None:
    """
    Below the storage's path is what it has made itself, and the one thing at its mount point is a
    link that leads nowhere.
    """
    link = storage.mount_point("test1")
    found = [Path(path, it) for path, *its in os.walk(link.parent) for them in its for it in them]
    shown = {str(it.relative_to(link.parent)) for it in found}
    assert {it for it in shown if not it.startswith(":datasets")} == {
        "test1",
        ":mounted",
        ":mounted/test1",
    }
    assert link.is_symlink()
    assert not link.exists()


@pytest.mark.parametrize("below", ["", "/some/where"])
@pytest.mark.parametrize("is_mount", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_container_of_a_fenced_dataset_does_not_start(
    engine: PrivateEngine, storage: BtrfsStorage, is_mount: bool, below: str
) -> None:
    """
    It has run before; the engine says what is missing, and makes nothing in its place.
    """
    source = f"{storage.mount_point('test1')}{below}"
    binds = {"Binds": [f"{source}:/data"]}
    mounts = {"Mounts": [{"Type": "bind", "Source": source, "Target": "/data"}]}
    if is_mount:
        Path(source).mkdir(parents=True, exist_ok=True)
    container = created(engine, WRITE_AND_FAIL, **(mounts if is_mount else binds))
    asked(engine, "POST", f"{container}/start")
    asked(engine, "POST", f"{container}/wait")
    assert Path(source, "file").read_text() == "written\n"
    assert [source] == [it["Source"] for it in asked(engine, "GET", f"{container}/json")["Mounts"]]
    await storage.fence("test1")
    with pytest.raises(AssertionError, match="test1"):
        asked(engine, "POST", f"{container}/start")
    check_nothing_was_made(storage)
    await storage.set_writable("test1")
    asked(engine, "POST", f"{container}/start")
    asked(engine, "POST", f"{container}/wait")
    assert Path(source, "file").read_text() == "written\nwritten\n"
    asked(engine, "DELETE", container)


@pytest_twisted.ensureDeferred
async def test_a_container_that_is_started_again_and_again_ends_with_the_fence(
    reactor: StorageReactor, engine: PrivateEngine, storage: BtrfsStorage
) -> None:
    """
    Its restart policy finds no dataset between two of its runs, and writes nothing anywhere.
    """
    binds = [f"{storage.mount_point('test1')}:/data"]
    policy = {"Name": "always"}
    container = created(engine, WRITE_AND_FAIL, Binds=binds, RestartPolicy=policy)
    asked(engine, "POST", f"{container}/start")
    for _ in range(TRIES):
        try:
            await storage.fence("test1")
        except StorageError:
            await deferLater(reactor, TRY_SECONDS)
        else:
            break
    state: dict[str, Any] = {}
    for _ in range(TRIES):
        state = asked(engine, "GET", f"{container}/json")["State"]
        if "test1" in state["Error"]:
            break
        await deferLater(reactor, TRY_SECONDS)
    assert "test1" in state["Error"], state
    assert not state["Running"]
    check_nothing_was_made(storage)
    asked(engine, "DELETE", f"{container}?force=1")
