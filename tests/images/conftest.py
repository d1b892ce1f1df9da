"""
The images of Powerstrip and its adapters, built with no registry, no index and no archive in the
engine's reach.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.engine import PrivateEngine, why_not
from tests.adapters.flocker.storage.pools import ZfsFusePool, why_no_zfs
from tests.images.docker import CLIENT

HERE = Path(__file__).parent
SCRIPT = HERE.parent.parent / "scripts" / "image"
NAMES = ("powerstrip", "weave", "flocker")
ENGINES = Path("/tmp/powerstrip-images")
"""Its own: other sessions, and other tests of this one, tidy up theirs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Everything in this directory needs an engine and is marked so.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def pool() -> Iterator[ZfsFusePool | None]:
    """
    A pool of ZFS, whose mount namespace is the one of the engine, or None where there can't be one.
    """
    if why_not() is not None or why_no_zfs() is not None:
        yield None
        return
    with ZfsFusePool() as pool:
        yield pool


@pytest.fixture(scope="session")
def engine(pool: ZfsFusePool | None) -> Iterator[PrivateEngine]:
    """
    An engine that knows busybox and these images.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    enter = () if pool is None else pool.enter
    _remove_engines_of_dead_sessions()
    name = f"images-{os.getpid()}"
    with PrivateEngine(ENGINES, name, dockerd=(*enter, "dockerd")) as engine:
        engine.import_busybox()
        _build(engine)
        yield engine


def _build(engine: PrivateEngine) -> None:
    # The distribution's client, as it is in the other tests; no other program of its directory.
    first = engine.directory / "bin"
    first.mkdir()
    (first / "docker").symlink_to(CLIENT)
    environment = {
        **os.environ,
        "PATH": f"{first}:{os.environ['PATH']}",
        "DOCKER_HOST": engine.docker_host,
    }
    done = subprocess.run([SCRIPT, *NAMES], env=environment, capture_output=True, text=True)
    shutil.rmtree(first)
    if "apt knows no archive of Debian" in done.stderr:
        pytest.skip("no base image: neither a registry nor an archive of Debian answers")
    assert done.returncode == 0, done.stderr


def _remove_engines_of_dead_sessions() -> None:
    for left in ENGINES.glob("images-*"):
        if not Path("/proc", left.name.removeprefix("images-")).exists():
            PrivateEngine(ENGINES, left.name).stop()
