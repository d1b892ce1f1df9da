"""
A Docker Engine of one's own, beside whatever else the machine runs.

I/O: starts ``dockerd`` in a network namespace of its own, with its own data,
socket, cgroups and identity, and takes all of it away again. Standard library only.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

__all__ = ["EngineError", "PrivateEngine", "why_not"]

TOOLS = ("dockerd", "containerd", "runc", "iptables", "ip", "nsenter", "busybox")
ENGINE_PROGRAMS = frozenset({"dockerd", "containerd", "containerd-shim", "docker-proxy"})
"""What an engine is made of, as ``/proc/PID/comm`` has it (15 characters)."""

CGROUPS = Path("/sys/fs/cgroup")
LOG_TAIL_LINES = 20


class EngineError(Exception):
    """
    The engine did not do what it was asked; the text says what it said.
    """


def why_not() -> str | None:
    """
    The one reason why no private engine can run here, or None where one can.
    """
    if sys.platform != "linux":
        return "a private Docker Engine needs Linux"
    if os.geteuid() != 0:
        return "a private Docker Engine needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (scripts/install-engine installs them)"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        return "root can't make a network namespace here"
    return None


class PrivateEngine:
    """
    One ``dockerd`` with nothing in common with any other engine on the machine.

    Everything of it lies below ``directory/name``, which is removed with it. The
    name is also that of its network namespace and of its cgroup, so two engines
    that run at the same time need two names.

    Args:
        directory: Short: the socket's path has 107 characters at most.
        dockerd: The command that becomes dockerd, as in ``("chroot", ROOT, "dockerd")``.
        arguments: More options of dockerd, as in ``("--label", "storage=disk")``.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        dockerd: Sequence[str] = ("dockerd",),
        arguments: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.directory = directory / name
        self.socket = self.directory / "docker.sock"
        self.docker_host = f"unix://{self.socket}"
        self.log = self.directory / "dockerd.log"
        self.namespace = Path("/run/netns") / f"powerstrip-{name}"
        self._cgroup = f"powerstrip-{name}"
        self.dockerd = tuple(dockerd)
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """
        The process id of the running dockerd.
        """
        if self._process is None:
            raise EngineError(f"engine {self.name} is not running")
        return self._process.pid

    def start(self, timeout_seconds: float = 60) -> None:
        """
        Start from nothing: what a killed run has left under this name is removed first.

        Raises:
            EngineError: dockerd ended, or did not answer in time; with the end of its log.
        """
        self._remove()
        self.directory.mkdir(parents=True)
        _run("ip", "netns", "add", self.namespace.name)
        _run("nsenter", f"--net={self.namespace}", "ip", "link", "set", "lo", "up")
        try:
            self._start_dockerd(timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """
        End the engine and its containers, and remove all that was theirs.
        """
        if self._process is not None:
            self._process.terminate()
            # dockerd gives containers ten seconds for their SIGTERM, which a shell as
            # process 1 ignores. Nothing of them is kept, so they need no such patience.
            _kill_all(self._containers())
            self._wait_for_dockerd()
        self._remove()

    def restart(self, timeout_seconds: float = 60) -> None:
        """
        Stop dockerd as a machine's shutdown would and start it on the same data.
        """
        if self._process is not None:
            self._process.terminate()
            self._wait_for_dockerd()
        self._start_dockerd(timeout_seconds)

    def kill(self) -> None:
        """
        End dockerd as a crash would; `restart` starts it on what it has left.

        Its containerd, which the kernel ends with it, is waited for: a dockerd that finds its
        process id still taken tries to reach it until it gives up.
        """
        programs = [p for p in self._programs() if not _proc(p, "comm").startswith("containerd-sh")]
        os.kill(self.pid, signal.SIGKILL)
        self._wait_for_dockerd()
        _wait_until(lambda: not any(Path("/proc", str(pid)).exists() for pid in programs))

    def import_busybox(self) -> None:
        """
        Make the image ``busybox:latest`` of the machine's own static busybox.
        """
        self.import_image("busybox", busybox_root(), ['CMD ["sh"]'])

    def import_image(self, name: str, root: bytes, changes: Sequence[str]) -> None:
        """
        Make an image, tagged latest.

        Args:
            root: Its root file system, as a tar.
            changes: Instructions of a Dockerfile that say how it runs.
        """
        query = [("fromSrc", "-"), ("repo", name), ("tag", "latest")]
        query += [("changes", change) for change in changes]
        target = f"/images/create?{urlencode(query)}"
        status, answer = self.request("POST", target, root, "application/x-tar")
        # Once the head is out, errors come in the body: Docker's API, ImageCreate.
        if status != 200 or b'"error"' in answer:
            raise EngineError(f"import of {name}: {status} {answer.decode(errors='replace')}")

    def request(
        self, method: str, target: str, body: bytes = b"", content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """
        One exchange with this engine, past any proxy.
        """
        connection = http.client.HTTPConnection("docker", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.settimeout(60)
            connection.sock.connect(str(self.socket))
            connection.request(method, target, body, {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.read()

    def log_tail(self) -> str:
        """
        The last lines that dockerd wrote.
        """
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def _start_dockerd(self, timeout_seconds: float) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "nsenter",  # not `ip netns exec`, which hides the cgroups behind a new /sys
                    f"--net={self.namespace}",
                    *self.dockerd,
                    *self._own_places(),
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for us, not for dockerd
            )
        deadline = time.monotonic() + timeout_seconds
        while not self._answers():
            if self._process.poll() is not None:
                what = f"ended with status {self._process.returncode}"
                raise EngineError(f"dockerd of {self.name} {what}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                what = f"did not answer within {timeout_seconds:g} s"
                raise EngineError(f"dockerd of {self.name} {what}:\n{self.log_tail()}")
            time.sleep(0.05)

    def _own_places(self) -> list[str]:
        """
        The options that keep dockerd to its own files and cgroups.

        Without a file of its own it would read ``/etc/docker/daemon.json``, and on
        a machine with systemd it would ask that for the containers' cgroups.
        """
        config = self.directory / "daemon.json"
        config.write_text("{}" if self._has_own_identity() else self._own_identity())
        return [
            f"--config-file={config}",
            f"--data-root={self.directory / 'data'}",
            f"--exec-root={self.directory / 'exec'}",
            f"--pidfile={self.directory / 'pid'}",
            f"--host={self.docker_host}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent=/{self._cgroup}",
        ]

    def _has_own_identity(self) -> bool:
        """
        Whether this dockerd keeps its identity in its data root, as all since 23.0 do.
        """
        version = _run(*self.dockerd, "--version").removeprefix("Docker version ")
        return int(version.split(".")[0]) >= 23

    def _own_identity(self) -> str:
        """
        The setting that keeps an older dockerd off the machine's ``/etc/docker/key.json``.
        """
        return f'{{"deprecated-key-path": "{self.directory / "key.json"}"}}'

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/_ping")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _wait_for_dockerd(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _programs(self) -> list[int]:
        """
        The processes that make up this engine: those that name its directory.
        """
        return [
            pid
            for pid in _pids()
            if _proc(pid, "comm").strip() in ENGINE_PROGRAMS
            and f"{self.directory}/" in _proc(pid, "cmdline")
        ]

    def _containers(self) -> list[int]:
        """
        The processes in this engine's containers: all that descend from its shims.
        """
        shims = [pid for pid in self._programs() if _proc(pid, "comm").startswith("containerd-sh")]
        return _descendants(shims)

    def _remove(self) -> None:
        containers, programs = self._containers(), self._programs()
        _kill_all([*programs, *containers])
        _wait_until(lambda: not self._programs())
        for mount in _mounts_below(self.directory):
            if subprocess.run(["umount", mount], capture_output=True).returncode != 0:
                subprocess.run(["umount", "--lazy", mount], capture_output=True)
        if self.namespace.exists():
            _run("ip", "netns", "delete", self.namespace.name)
        for cgroup in _cgroups_named(self._cgroup):
            with contextlib.suppress(OSError):
                cgroup.rmdir()
        if self.directory.exists():
            shutil.rmtree(self.directory)


def busybox_root() -> bytes:
    """
    A root file system with the machine's static busybox and all its applets, as a tar.
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        raise EngineError("not installed: busybox (busybox-static)")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as root:
        for directory, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            root.addfile(entry)
        root.add(busybox, "bin/busybox")
        for applet in _run(busybox, "--list").split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if applet != "busybox":
                root.addfile(link)
        users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
        passwd = tarfile.TarInfo("etc/passwd")
        passwd.size, passwd.mode = len(users), 0o644
        root.addfile(passwd, io.BytesIO(users))
    return buffer.getvalue()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise EngineError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _proc(pid: int, file: str) -> str:
    """
    One file of a process, empty when the process has gone.
    """
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _descendants(ancestors: Sequence[int]) -> list[int]:
    """
    The processes below the given ones, without these.
    """
    children: dict[int, list[int]] = {}
    for pid in _pids():
        # After the name, which may hold spaces and brackets, come state and parent.
        after_name = _proc(pid, "stat").rpartition(")")[2].split()
        if len(after_name) > 1:
            children.setdefault(int(after_name[1]), []).append(pid)

    def walk(pid: int) -> Iterator[int]:
        for child in children.get(pid, ()):
            yield child
            yield from walk(child)

    return [pid for ancestor in ancestors for pid in walk(ancestor)]


def _kill_all(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait_until(holds: Callable[[], bool], timeout_seconds: float = 10) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)


def _mounts_below(directory: Path) -> list[str]:
    """
    What is mounted below a directory, the innermost and latest first.
    """
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [mount for mount in reversed(mounts) if mount.startswith(f"{directory}/")]


def _cgroups_named(name: str) -> list[Path]:
    """
    The cgroups of this name in every hierarchy (version 1 has many), leaves first.
    """
    roots = [CGROUPS / name, *(path / name for path in CGROUPS.glob("*"))]
    return [
        cgroup
        for root in roots
        if root.is_dir()
        for cgroup in sorted([root, *(p for p in root.rglob("*") if p.is_dir())], reverse=True)
    ]
