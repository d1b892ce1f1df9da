"""
The adapter as users have it: a real engine, a real pool, and the docker command through Powerstrip.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from powerstrip_flocker.uses import EXPECTED
from twisted.internet.utils import getProcessOutputAndValue

from demo.engine import PrivateEngine, why_not
from tests.adapters.flocker.storage.pools import (
    BtrfsFileElsewhere,
    ZfsFusePool,
    why_no_btrfs,
    why_no_zfs,
)
from tests.net.harness import until

pytestmark = pytest.mark.engine

TWISTD = str(Path(sys.executable).parent / "twistd")
ENGINES = Path("/tmp/powerstrip-tests")


class Pool:
    """
    A file system for datasets, and an engine that sees what is mounted of it.
    """

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.kind = kind
        if kind == "zfs":
            zfs = stack.enter_context(ZfsFusePool())
            self.storage, self.root, self.enter = f"zfs:{zfs.name}", zfs.mount_point, zfs.enter
        else:
            btrfs = stack.enter_context(BtrfsFileElsewhere())
            self.root, self.enter = btrfs.mount_point, btrfs.enter
            self.storage = f"btrfs:{self.root}"
        name = f"fl-{kind[0]}-{os.getpid()}"
        engine = PrivateEngine(ENGINES, name, dockerd=(*self.enter, "dockerd"))
        self.engine = stack.enter_context(engine)
        self.engine.import_busybox()

    @property
    def process(self) -> str:
        """
        One that sees what is mounted.
        """
        return str(self.engine.pid)


@pytest.fixture(scope="module", params=["btrfs", "zfs"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """
    An engine with the image busybox, and a pool of each kind.
    """
    reason = why_not() or (why_no_zfs() if request.param == "zfs" else why_no_btrfs())
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        yield Pool(request.param, stack)


class Node:
    """
    A pool and its engine with the adapter beside it, and Powerstrip before it.
    """

    def __init__(self, pool: Pool, directory: Path, stack: ExitStack) -> None:
        self.pool = pool
        self.log = directory / "log"
        self._directory = directory
        self._stack = stack
        self.configure("create", "*/start", "*/restart")
        config = ["--config", f"{directory}/adapters.yml", "--docker", pool.engine.docker_host]
        self._run(TWISTD, "--nodaemon", "--pidfile=", "powerstrip", *config, *self._listen("p"))
        self.adapter: subprocess.Popen[bytes] | None = None

    def configure(self, *endpoints: str, hooks: str = "{pre: [flocker]}") -> None:
        """
        Have Powerstrip call the adapter before these requests, from the next one on.
        """
        socket_path = str(self._directory / "a.sock").replace("/", "%2F")
        lines = [f'  "POST /*/containers/{it}": {hooks}\n' for it in endpoints]
        (self._directory / "adapters.yml").write_text(
            f"endpoints:\n{''.join(lines)}"
            f"adapters:\n  flocker: http+unix://{socket_path}/flocker-adapter\n"
        )

    def start_adapter(self, *, outside: bool = False) -> None:
        """
        Start it where the pool is mounted, or outside of that, as in a container.
        """
        pool = self.pool
        words = ["--node", "node1", "--storage", pool.storage, "--docker", pool.engine.docker_host]
        words += ["--ledger", f"{self._directory}/ledger.json", *self._listen("a")]
        before = pool.enter
        if outside:
            before = ()
            words += ["--enter-mounts", pool.process]
        twistd = (TWISTD, "--nodaemon", "--pidfile=", "powerstrip-flocker")
        self.adapter = self._run(*before, *twistd, *words)

    def _listen(self, name: str) -> Sequence[str]:
        return ("--listen", f"unix://{self._directory}/{name}.sock")

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    async def is_ready(self) -> None:
        """
        Wait until clients can come in.
        """
        assert self.adapter is not None
        adapter = self.adapter
        both = [f"{self._directory}/{name}.sock" for name in "ap"]
        ready = lambda: all(map(_listens, both)) or adapter.poll() is not None  # noqa: E731
        await until(ready, "both listen")
        assert adapter.poll() is None, self.log.read_text()

    async def restart_adapter(self, *, outside: bool = False) -> None:
        """
        End it as an operator does, and start it again.
        """
        assert self.adapter is not None
        self.adapter.terminate()
        assert self.adapter.wait(20) == 0
        self.start_adapter(outside=outside)
        await self.is_ready()

    async def docker(self, *words: str) -> tuple[int, str]:
        """
        Status and output of the docker command, through Powerstrip.
        """
        command = ["-H", f"unix://{self._directory}/p.sock", *words]
        out, errors, status = await getProcessOutputAndValue("docker", command, os.environ)
        return status, (out + errors).decode()

    async def run(self, *words: str) -> str:
        """
        What a container says that ends well.
        """
        status, output = await self.docker("run", "--rm", *words)
        assert status == 0, output
        return output

    async def shell(self, bind: str, command: str) -> str:
        """
        What a shell says in a container with one bind.
        """
        return await self.run("-v", bind, "busybox", "sh", "-c", command)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


@pytest_twisted.async_yield_fixture
async def node(pool: Pool, short_tmp: Path) -> AsyncIterator[Node]:
    """
    A node that clients can use.
    """
    with ExitStack() as stack:
        node = Node(pool, short_tmp, stack)
        node.start_adapter()
        await node.is_ready()
        yield node
        _, ids = await node.docker("ps", "-aq")
        if ids:
            await node.docker("rm", "-f", *ids.split())
        _empty(pool)
        log = node.log.read_text()
        assert "Traceback" not in log, log


def _empty(pool: Pool) -> None:
    """
    Have the next test begin with no dataset.
    """
    script = f"""
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from powerstrip_flocker.storage.btrfs import BtrfsStorage
from powerstrip_flocker.storage.zfs import ZfsStorage
where = {pool.storage!r}.partition(":")[2]
storage = ZfsStorage(reactor, where) if {pool.kind == "zfs"} else BtrfsStorage(reactor, Path(where))
async def empty():
    await storage.start()
    for name in await storage.names():
        await storage.destroy(name)
Deferred.fromCoroutine(empty()).addErrback(print).addBoth(lambda _: reactor.stop())
reactor.run()
"""
    done = subprocess.run(
        [*pool.enter, sys.executable, "-c", script], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest_twisted.ensureDeferred
async def test_what_one_container_writes_another_one_reads(node: Node) -> None:
    """
    The talk's two commands, on one node.
    """
    write = ("busybox", "sh", "-c", "echo hello > /data/file.txt")
    assert await node.run("-v", "/flocker/test1:/data", *write) == ""
    read = ("busybox", "sh", "-c", "cat /data/file.txt")
    assert await node.run("-v", "/flocker/test1:/data", *read) == "hello\n"
    assert await node.run("-v", "/flocker/test2:/data", "busybox", "ls", "/data") == ""
    assert not Path("/flocker/test1").exists()


@pytest_twisted.ensureDeferred
async def test_all_kinds_of_binds_are_kept(node: Node, tmp_path: Path) -> None:
    """
    Read-only ones, those of ``--mount``, parts of datasets, several, and others beside them.
    """
    (tmp_path / "other").write_text("other\n")
    await node.shell("/flocker/a/sub:/x", "echo deep > /x/file")
    command = (
        "cat /ro/sub/file /mount/file /srv/other; touch /ro/x; touch /mount/x; "
        "echo b > /b/file; touch /srv/x; echo $(ls /b /ro)"
    )
    output = await node.run(
        *["-v", "/flocker/a:/ro:ro", "-v", "/flocker/b:/b:rw,rprivate", "-v", f"{tmp_path}:/srv"],
        *["--mount", "type=bind,source=/flocker/a/sub,target=/mount,readonly", "-v", "named:/n"],
        *["busybox", "sh", "-c", command],
    )
    lines = output.splitlines()
    assert lines[:4] == ["deep", "deep", "other", "/b: file /ro: sub"]
    assert lines[4:] == [
        "touch: /ro/x: Read-only file system",
        "touch: /mount/x: Read-only file system",
    ]
    assert (tmp_path / "x").exists()
    assert await node.shell("/flocker/b:/x", "cat /x/file") == "b\n"


@pytest_twisted.ensureDeferred
async def test_what_is_no_dataset_is_said_by_the_docker_command(node: Node) -> None:
    """
    Nothing was created.
    """
    status, output = await node.docker("run", "-v", "/flocker/a..b:/x", "busybox", "true")
    sentence = "flocker: 'a..b' can't be the name of a dataset: it may have no '..' and not be '.'"
    assert status == 125
    assert f"Error response from daemon: {sentence}" in output
    assert (await node.docker("ps", "-aq"))[1] == ""


@pytest_twisted.ensureDeferred
async def test_a_missing_image_is_pulled(node: Node) -> None:
    """
    At least the docker command tries: here is no registry. The dataset is left alone.
    """
    status, output = await node.docker("run", "-v", "/flocker/a:/x", "localhost:1/none", "true")
    assert status == 125
    assert "Unable to find image 'localhost:1/none:latest' locally" in output
    assert "No such image" not in output.partition("locally")[2]
    assert await _destroyed(node, "a") == "flocker: there is no dataset a"


@pytest_twisted.ensureDeferred
async def test_volumes_of_another_container(node: Node) -> None:
    """
    They lead to the same dataset.
    """
    await node.docker("create", "--name", "data", "-v", "/flocker/a:/x", "busybox")
    await node.run("--volumes-from", "data", "busybox", "sh", "-c", "echo there > /x/file")
    assert await node.shell("/flocker/a:/y", "cat /y/file") == "there\n"


@pytest.mark.parametrize("outside", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_container_starts_again_after_the_adapter_has(node: Node, outside: bool) -> None:
    """
    It has what it wrote before; and so has one that was running all the time.
    """
    append = "echo $((1 + $(cat /x/count))) > /x/count; cat /x/count"
    for name in ("one", "two", "three"):
        await node.shell(f"/flocker/{name}:/x", "echo 0 > /x/count")
    for name in ("one", "two"):
        bind = ("-v", f"/flocker/{name}:/x")
        await node.docker("create", "--name", name, *bind, "busybox", "sh", "-c", append)
    assert await node.docker("start", "-a", "one") == (0, "1\n")
    watch = ("busybox", "sh", "-c", f"trap exit TERM; {append}; sleep 1000 & wait")
    await node.docker("run", "-d", "--name", "runs", "-v", "/flocker/three:/x", *watch)
    await node.restart_adapter(outside=outside)
    assert await node.docker("start", "-a", "one") == (0, "2\n")
    assert await node.docker("start", "-a", "two") == (0, "1\n")
    assert await node.docker("exec", "runs", "cat", "/x/count") == (0, "1\n")
    assert await node.docker("restart", "runs") == (0, "runs\n")
    assert await node.shell("/flocker/three:/y", "cat /y/count") == "2\n"


@pytest.mark.parametrize("outside", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_link_does_not_lead_out_of_a_dataset(node: Node, outside: bool) -> None:
    """
    Neither to the host, nor to another dataset; within the same one it does.
    """
    if outside:
        await node.restart_adapter(outside=True)
    make = "mkdir /x/in; echo in > /x/in/file; ln -s /etc /x/out; ln -s ../b /x/b; ln -s in /x/to"
    await node.shell("/flocker/a:/x", make)
    await node.shell("/flocker/b:/x", "true")
    for part in ("out", "b", "to/../b"):
        bind = f"/flocker/a/{part}:/y"
        status, output = await node.docker("run", "-v", bind, "busybox", "ls", "/y")
        assert status == 125
        assert "leads out of the dataset, by a symbolic link" in output
    assert await node.shell("/flocker/a/to:/y", "cat /y/file") == "in\n"


@pytest_twisted.ensureDeferred
async def test_who_uses_a_dataset_is_known_from_the_engine(node: Node) -> None:
    """
    Containers that run, and those that were created; none for longer than it is there.
    """
    bind = ("-v", "/flocker/a:/x", "busybox")
    await node.docker("create", "--name", "waits", *bind, "true")
    assert "a is used by waits on node1" in await _destroyed(node, "a")
    await node.docker("rm", "waits")
    await node.docker("run", "-d", "--name", "runs", *bind, "sleep", "1000")
    assert "a is used by runs on node1" in await _destroyed(node, "a")
    await node.docker("rm", "-f", "runs")
    for _ in range(3):
        await node.run(*bind, "true")
    assert await _destroyed(node, "a") == ""


@pytest_twisted.ensureDeferred
async def test_the_hook_of_2015_is_enough(node: Node) -> None:
    """
    Before a create alone: a container that has ended is expected no more.
    """
    node.configure("create")
    for _ in range(3):
        await node.shell("/flocker/a:/x", "date >> /x/file")
    assert await node.shell("/flocker/a:/x", "wc -l < /x/file") == "3\n"
    assert await _destroyed(node, "a") == ""


@pytest_twisted.ensureDeferred
async def test_a_container_that_did_not_come_is_expected_for_a_while(node: Node) -> None:
    """
    Its name was taken: the engine refused it after the hook.
    """
    await node.docker("create", "--name", "taken", "busybox")
    bind = ("--name", "taken", "-v", "/flocker/a:/x", "busybox")
    status, output = await node.docker("run", *bind, "true")
    assert (status, "is already in use" in output) == (125, True)
    assert EXPECTED in await _destroyed(node, "a")


@pytest_twisted.ensureDeferred
async def test_what_the_engine_refuses_is_told_by_the_hook_after_it(
    node: Node, tmp_path: Path
) -> None:
    """
    A container whose name was taken, and one that can't start again.
    """
    node.configure("create", "*/start", hooks="{pre: [flocker], post: [flocker]}")
    (tmp_path / "gone").mkdir()
    mounts = ("-v", "/flocker/a:/x", "--mount", f"type=bind,source={tmp_path}/gone,target=/y")
    status, output = await node.docker("run", "--name", "box", *mounts, "busybox", "true")
    assert status == 0, output
    status, output = await node.docker("create", "--name", "box", *mounts, "busybox")
    assert (status, "is already in use" in output) == (1, True), output
    (tmp_path / "gone").rmdir()
    status, output = await node.docker("start", "box")
    assert (status, "bind source path does not exist" in output) == (1, True), output
    assert await _destroyed(node, "a") == ""


async def _destroyed(node: Node, name: str) -> str:
    """
    What the adapter says against destroying a dataset, which takes one that nobody uses.
    """
    command = ["-s", "-X", "DELETE", "--unix-socket", f"{node._directory}/a.sock"]
    command += ["-H", "Content-Type: application/json", f"http://flocker/datasets/{name}"]
    out, errors, status = await getProcessOutputAndValue("curl", command, os.environ)
    assert status == 0, errors
    answer: Any = json.loads(out) if out.strip() else {}
    message: str = answer.get("message", "")
    return message
