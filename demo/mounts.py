"""
What one machine has mounted, unseen by the others.

I/O: a mount namespace, by ``unshare``. Standard library only.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["MountNamespace", "MountsError"]


class MountsError(Exception):
    """
    The kernel did not make what it was asked for; the text says why.
    """


class MountNamespace:
    """
    A mount namespace that stays, though no process may be in it.

    All that is mounted in it goes with it, and what is mounted elsewhere later does not come in.

    Args:
        directory: Of its own; the namespace is bound to a file in it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "namespace"

    @property
    def enter(self) -> tuple[str, ...]:
        """
        What stands before a command that is to run in it.
        """
        return ("nsenter", f"--mount={self.path}")

    def start(self) -> None:
        """
        Start with what the machine has mounted; a killed run's is removed first.
        """
        self.stop()
        self._directory.mkdir(parents=True, exist_ok=True)
        # The kernel binds a mount namespace only where the binding does not spread into itself.
        _run("mount", "--bind", str(self._directory), str(self._directory))
        _run("mount", "--make-private", str(self._directory))
        self.path.touch()
        _run("unshare", f"--mount={self.path}", "--propagation", "private", "true")

    def stop(self) -> None:
        """
        Let it go. Processes in it keep it until they end.
        """
        for path in (self.path, self._directory):
            while _is_mounted(path):
                _run("umount", "--lazy", str(path))


def _is_mounted(path: Path) -> bool:
    """
    Whether something is mounted on a path. `Path.is_mount` says so of directories only.
    """
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return any(line.split()[1] == str(path) for line in mounts)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise MountsError(f"{' '.join(command)}: {done.stderr.strip()}")
