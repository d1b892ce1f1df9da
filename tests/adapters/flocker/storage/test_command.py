"""
Commands of file systems, run for real.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.storage.command import Commands, StorageReactor
from twisted.internet.defer import CancelledError, Deferred


@pytest.fixture
def commands(reactor: StorageReactor) -> Commands:
    """
    Commands of this host.
    """
    return Commands(reactor)


@pytest_twisted.ensureDeferred
async def test_a_command_that_a_signal_has_ended_has_failed(commands: Commands) -> None:
    """
    With what it had said: as when it runs out of memory.
    """
    with pytest.raises(StorageError, match="half way"):
        await commands.run("sh", "-c", "echo half way >&2; kill -KILL $$")


@pytest_twisted.ensureDeferred
async def test_who_is_cancelled_waits_for_the_command(commands: Commands, tmp_path: Path) -> None:
    """
    It goes on, and nobody is to do anything else before it has ended.
    """
    gate, done = tmp_path / "gate", tmp_path / "done"
    await commands.run("mkfifo", str(gate))
    script = 'read -r line <"$1"; touch "$2"'
    running = Deferred.fromCoroutine(commands.run("sh", "-c", script, "sh", str(gate), str(done)))
    running.cancel()
    gate.write_text("go on\n")

    with pytest.raises(CancelledError):
        await running

    assert done.exists()
