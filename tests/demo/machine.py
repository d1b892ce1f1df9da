"""
A Debian machine for tests of what is installed: set up offline, then booted with its own systemd.

I/O: copies a root file system made by debootstrap, and runs it in namespaces. Its scripts reach
package archives and indexes as this machine does; what has booted reaches nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SHARED = ("adapters", "contrib", "demo", "powerstrip", "twisted")
"""The directories that the scripts find in ``/vagrant``, beside the files at the top."""

PACKAGES: tuple[str, ...] = ("systemd-sysv", "iproute2", "kmod", "procps")
"""What every Debian has that is installed as a machine, and a minimal one has not."""

NOT_HERE: tuple[str, ...] = ("console-getty.service", "getty-static.service", "getty@.service")
NOT_HERE += ("systemd-sysctl.service", "systemd-tmpfiles-setup-dev.service")
"""Units that would have to do with this machine's own terminals, kernel and devices."""


class Machine:
    """
    A machine, whose files lie below a directory.

    Args:
        name: Of its cgroups.
        addresses: Its own, with the length of their prefix.
    """

    def __init__(self, directory: Path, name: str, addresses: tuple[str, ...]) -> None:
        self._root = directory
        self._name = name
        self._addresses = addresses
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    def unpack(self, debian: Path) -> None:
        """
        Make its files, of a copy of Debian and the source in ``/vagrant``.
        """
        subprocess.run(["cp", "-a", str(debian), str(self._root)], check=True)
        policy = self._root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        (self._root / "etc/dpkg/dpkg.cfg.d/not-for-long").write_text("force-unsafe-io\n")
        shutil.copy("/etc/resolv.conf", self._root / "etc/resolv.conf")
        authorities = Path("/usr/local/share/ca-certificates")
        if authorities.is_dir():
            shutil.copytree(authorities, self._root / authorities.relative_to("/"))
        ignored = shutil.ignore_patterns("__pycache__", "build", "programs", "*.egg-info")
        for name in SHARED:
            shutil.copytree(SOURCE / name, self._root / "vagrant" / name, ignore=ignored)
        for path in SOURCE.glob("*.*"):
            if path.is_file():
                shutil.copy(path, self._root / "vagrant")
        self.set_up(["apt-get", "update", "--quiet"], {})
        self.set_up(["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES], {})
        for unit in NOT_HERE:
            (self._root / "etc/systemd/system" / unit).symlink_to("/dev/null")

    def set_up(self, command: Sequence[str], environment: Mapping[str, str]) -> str:
        """
        Run a command while the machine is off: with its files, and with this machine's network.

        Returns:
            What it has printed.
        """
        passed = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        passed |= {"PATH": PATH, "SYSTEMD_OFFLINE": "1", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            [str(SOURCE / "scripts" / "in-root"), str(self._root), *command],
            env={**passed, **environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def boot(self) -> None:
        """
        Start it, and wait until its systemd can be spoken to.
        """
        command = [str(HERE / "boot-root"), str(self._root), self._name, *self._addresses]
        with (self._root.parent / "console").open("ab") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        wait_for(self._has_booted, self.console)

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None, given: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """
        Run a command in the machine while it is on.
        """
        inside = ["nsenter", f"--target={self._first}", "--all", *command]
        done = subprocess.run(
            inside, env={"PATH": PATH, **(environment or {})}, input=given, capture_output=True
        )
        return subprocess.CompletedProcess(
            command, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def cut_power(self) -> None:
        """
        End all that runs on it, at once.
        """
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        wait_for(lambda: not self._processes(), self.console)
        for cgroup in sorted(self._cgroups(), reverse=True):
            cgroup.rmdir()

    def remove(self) -> None:
        """
        End it, and remove its files.
        """
        self.cut_power()
        shutil.rmtree(self._root, ignore_errors=True)

    def console(self) -> str:
        """
        What it has printed since it was made.
        """
        return (self._root.parent / "console").read_text(errors="replace")

    def _has_booted(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.console()
        outside = self._process.pid
        children = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text() != "systemd\n":
            return False
        self._first = int(children[0])
        # "offline" until it can be spoken to; then "starting", and at last "running".
        return "offline" not in self.run("systemctl", "is-system-running").stdout

    def _cgroups(self) -> list[Path]:
        top = Path("/sys/fs/cgroup")
        own = [path for path in (top / self._name, *top.glob(f"*/{self._name}")) if path.exists()]
        return [each for path in own for each in (path, *path.rglob("*/"))]

    def _processes(self) -> list[str]:
        return [
            pid
            for cgroup in self._cgroups()
            if (cgroup / "cgroup.procs").exists()
            for pid in (cgroup / "cgroup.procs").read_text().split()
        ]


def wait_for(holds: Callable[[], bool], why_not: Callable[[], str], seconds: float = 30) -> None:
    """
    Wait until something holds.

    Args:
        why_not: What is said if it never does.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, why_not()
        time.sleep(0.1)
