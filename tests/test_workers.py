"""
Several workers: processes that serve on the same sockets, and the one that starts them.

I/O: ``twistd powerstrip --workers`` as users start it, on real sockets.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from powerstrip.errors import ConfigError
from powerstrip.service import ProxyService
from powerstrip.supervisor import Supervisor
from tests.net.harness import OK, until
from tests.net.peers import PATIENCE_SECONDS, Peer, reactor
from tests.stage import Process, Stage

NOBODY = 65534


@pytest_twisted.async_yield_fixture
async def stage(short_tmp: Path) -> AsyncIterator[Stage]:
    """
    A place for processes, which are ended after the test.
    """
    stage = Stage(short_tmp)
    yield stage
    await stage.close()


def worker_of(engine: Peer) -> int:
    """
    The process that has connected to the engine.
    """
    credentials = engine._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("iII", credentials)[0])


def runs(pid: int) -> bool:
    """
    Whether there is such a process, and one that has not ended.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(process: Process) -> list[int]:
    """
    The workers that there are.
    """
    pid = process.process.pid
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def one_with_each(stage: Stage, count: int = 2) -> dict[int, tuple[Peer, Peer]]:
    """
    A client of each worker, and the engine's end, where a request has arrived.
    """
    found: dict[int, tuple[Peer, Peer]] = {}
    deadline = reactor.seconds() + PATIENCE_SECONDS
    while len(found) < count:
        assert reactor.seconds() < deadline, f"{len(found)} workers serve"
        client, engine = await stage.exchange()
        if worker_of(engine) not in found:
            found[worker_of(engine)] = client, engine
        else:
            client.close()
            engine.close()
            await deferLater(reactor, 0.01)  # the other may still be starting
    return found


async def ends_well(client: Peer, engine: Peer) -> bool:
    """
    Whether an exchange that is under way comes to its end. The client leaves then.
    """
    await engine.send(OK)
    answer = await client.read_exactly(len(OK))
    client.close()
    return answer == OK


# What is started


@pytest_twisted.ensureDeferred
async def test_one_worker_is_the_process_itself(stage: Stage) -> None:
    """
    There is a parent only where there is more than one.
    """
    assert isinstance(stage.make("--workers", "1"), ProxyService)
    assert isinstance(stage.make(), ProxyService)
    assert isinstance(stage.make("--workers", "2"), Supervisor)


@pytest_twisted.ensureDeferred
async def test_all_workers_serve_and_tell_of_it_in_one_log(stage: Stage) -> None:
    """
    Each line says whose it is, and the parent serves nobody.
    """
    process = await stage.run("--workers", "2", "--trace")
    found = await one_with_each(stage)
    assert set(children(process)) == set(found)
    for client, engine in found.values():
        assert await ends_well(client, engine)
    line = re.compile(r'^[\d-]+T\S+ \[(.*) powerstrip#info\] .* "GET /_ping" lane=pass ', re.M)
    await until(
        lambda: {"worker 1", "worker 2"} == set(line.findall(process.log.read_text())),
        "both have told of an exchange",
    )
    assert "\n\t  -> GET /_ping HTTP/1.1\n\t  -> Host: docker\n" in process.log.read_text()


@pytest_twisted.ensureDeferred
async def test_sockets_of_every_kind_are_shared(stage: Stage) -> None:
    """
    TCP beside a UNIX socket, which has its mode and its group.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    await stage.run("--workers", "2", "--listen", f"tcp://127.0.0.1:{port}")
    await one_with_each(stage)
    assert stat.S_IMODE(os.stat(stage.socket).st_mode) == 0o660
    assert await stage.serves(("127.0.0.1", port))


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest_twisted.ensureDeferred
async def test_a_socket_of_systemds_stays_as_it_was(stage: Stage, workers: str) -> None:
    """
    Neither its mode nor its file is ours to change (twisted/twisted#10261).
    """
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(stage.socket)
        os.chmod(stage.socket, 0o600)
        given.listen()
        process = Process(
            stage,
            *("--listen", "systemd:domain=UNIX:index=0", "--workers", workers),
            wrapper=[
                "/bin/sh",
                "-c",
                'export LISTEN_FDS=1 LISTEN_FDNAMES=p LISTEN_PID=$$; exec "$@"',
                "sh",
            ],
            given=given.fileno(),
        )
    stage.processes.append(process)
    assert await stage.serves()
    assert stat.S_IMODE(os.stat(stage.socket).st_mode) == 0o600
    process.process.terminate()
    assert await process.status() == 0
    assert os.path.exists(stage.socket)


# What is refused


@pytest.mark.parametrize("listen", ["ssl:1:privateKey=k.pem", "tcp:0"])
def test_what_can_not_be_shared_is_refused(stage: Stage, listen: str) -> None:
    """
    A socket alone would be the clear text of an endpoint that speaks TLS.
    """
    with pytest.raises(ConfigError) as caught:
        stage.make("--workers", "2", "--listen", listen)
    (problem,) = caught.value.problems
    assert problem.startswith(f"--listen {listen}: workers can't share what this makes; ")


@pytest_twisted.ensureDeferred
async def test_a_configuration_that_is_wrong_is_told_once(stage: Stage) -> None:
    """
    Before any worker is started.
    """
    stage.config.write_text("endpoints: {")
    process = Process(stage, "--listen", f"unix://{stage.socket}", "--workers", "3")
    stage.processes.append(process)
    assert await process.status() == 1
    log = process.log.read_text()
    assert log.count("powerstrip: ") == 1
    assert "worker" not in log
    assert not os.path.exists(stage.socket)


# A worker dies


@pytest_twisted.ensureDeferred
async def test_a_worker_that_dies_is_started_again(stage: Stage) -> None:
    """
    Nobody is refused meanwhile, and the exchanges of the other go on.
    """
    process = await stage.run("--workers", "2")
    found = await one_with_each(stage)
    (dead, (client, _)), (alive, other) = found.items()
    os.kill(dead, signal.SIGKILL)
    assert await client.sees_the_end()
    for _ in range(20):
        assert await stage.serves()
    assert alive in await one_with_each(stage)
    assert await ends_well(*other)
    assert dead not in children(process)
    assert "was killed by SIGKILL; the next one is started now" in process.log.read_text()


@pytest_twisted.ensureDeferred
async def test_a_worker_may_be_asked_to_end(stage: Stage) -> None:
    """
    SIGTERM lets its exchanges end, and the next one is started.
    """
    process = await stage.run("--workers", "2")
    (asked, exchange), _ = (await one_with_each(stage)).items()
    os.kill(asked, signal.SIGTERM)
    assert await ends_well(*exchange)
    await until(lambda: asked not in children(process), "it has ended")
    assert len(await one_with_each(stage)) == 2
    assert "ended with status 0; the next one is started now" in process.log.read_text()


@pytest_twisted.ensureDeferred
async def test_a_worker_that_can_not_start_does_not_spin(stage: Stage) -> None:
    """
    It says why, and is tried again later; the other serves on, by the last good configuration.
    """
    process = await stage.run("--workers", "2")
    dead, alive = await one_with_each(stage)
    stage.config.unlink()
    os.kill(dead, signal.SIGKILL)
    sentence = f"stderr#error] powerstrip: {stage.config}: can't be read: No such file or directory"
    text = process.log.read_text
    await until(lambda: "ended with status 1; the next one is started in 1 s" in text(), "a try")
    assert sentence in text()
    assert text().count("ended with status 1") == 1
    assert children(process) == [alive]
    assert await stage.serves()


# The parent ends


@pytest_twisted.ensureDeferred
async def test_sigterm_lets_what_runs_end(stage: Stage) -> None:
    """
    What is idle is closed, nobody new comes in, and the status is 0.
    """
    process = await stage.run("--workers", "2", "--grace", "20")
    (idle, idle_engine), busy = (await one_with_each(stage)).values()
    await idle_engine.send(OK)
    assert await idle.read_exactly(len(OK)) == OK
    process.process.terminate()
    assert await idle.sees_the_end()
    assert await idle_engine.sees_the_end()
    await until(lambda: not os.path.exists(stage.socket), "the socket is gone")
    await until(lambda: len(children(process)) == 1, "a worker that has nothing to do has ended")
    assert not process.has_ended()
    assert await ends_well(*busy)
    assert await process.status() == 0
    log = process.log.read_text()
    assert "Traceback" not in log
    assert "ended with" not in log


@pytest_twisted.ensureDeferred
async def test_control_c_lets_what_runs_end(stage: Stage) -> None:
    """
    A terminal sends SIGINT to all of them.
    """
    process = await stage.run(
        *("--workers", "2", "--grace", "20"),
    )
    exchanges = await one_with_each(stage)
    os.killpg(process.process.pid, signal.SIGINT)
    await until(lambda: not os.path.exists(stage.socket), "the socket is gone")
    for client, engine in exchanges.values():
        assert await ends_well(client, engine)
    assert await process.status() == -signal.SIGINT  # as of a process without workers
    log = process.log.read_text()
    assert "Traceback" not in log
    assert "ended with" not in log


@pytest_twisted.ensureDeferred
async def test_exchanges_are_cut_when_the_grace_is_over(stage: Stage) -> None:
    """
    As in a process without workers.
    """
    process = await stage.run("--workers", "2", "--grace", "0.1")
    (client, _), _ = (await one_with_each(stage)).values()
    process.process.terminate()
    assert await client.sees_the_end()
    assert await process.status() == 0
    assert "error=powerstrip stops" in process.log.read_text()


@pytest_twisted.ensureDeferred
async def test_no_worker_outlives_its_parent(stage: Stage) -> None:
    """
    Not even one that was killed: workers let nobody in any more, and end as after SIGTERM.
    """
    process = await stage.run("--workers", "2", "--grace", "20")
    exchanges = await one_with_each(stage)
    process.kill()
    await until(lambda: not accepts(stage.socket), "nobody is let in")
    stage.processes.remove(process)
    again = await stage.run()  # which takes what the dead one has left in its place
    for client, engine in exchanges.values():
        assert await ends_well(client, engine)
    await until(lambda: not any(runs(pid) for pid in exchanges), "they are gone")
    assert await stage.serves()
    assert "Traceback" not in again.log.read_text()


def accepts(path: str) -> bool:
    """
    Whether somebody listens there.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


# As a daemon, and as another user


@pytest_twisted.ensureDeferred
async def test_a_daemon_logs_for_its_workers(stage: Stage) -> None:
    """
    The parent writes the log file, which SIGUSR1 begins anew, and has the pid file.
    """
    log, pid_file = stage.directory / "twistd.log", stage.directory / "pid"
    process = Process(
        stage,
        *("--listen", f"unix://{stage.socket}", "--workers", "2", "--trace"),
        twistd=(f"--logfile={log}", f"--pidfile={pid_file}"),
    )
    assert await process.status() == 0
    pid = int(pid_file.read_text())
    try:
        await tell_in(log, stage)
        os.kill(pid, signal.SIGUSR1)
        await until(log.with_name("twistd.log.1").exists, "a new log file")
        await tell_in(log, stage)
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not runs(pid), "the parent has ended")
    finally:
        if runs(pid):
            os.kill(pid, signal.SIGKILL)
    assert not pid_file.exists()
    assert "\n\t  -> GET /_ping HTTP/1.1\n\t  -> Host: docker\n" in log.read_text()
    assert process.log.read_text() == ""


async def tell_in(log: Path, stage: Stage) -> None:
    """
    Have both workers tell of an exchange.
    """
    for client, engine in (await one_with_each(stage)).values():
        assert await ends_well(client, engine)
    line = re.compile(r'^[\d-]+T\S+ \[(.*) powerstrip#info\] .* "GET /_ping" lane=pass ', re.M)
    await until(
        lambda: log.exists() and {"worker 1", "worker 2"} == set(line.findall(log.read_text())),
        "both have told of an exchange",
    )


def may_be_run_by_all(program: Path) -> bool:
    """
    Whether every user of the machine reaches a program.
    """
    return all(place.stat().st_mode & stat.S_IXOTH for place in program.resolve().parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif(not may_be_run_by_all(Path(sys.executable)), reason="needs a Python for all")
@pytest_twisted.ensureDeferred
async def test_workers_have_the_user_that_twistd_is_told(stage: Stage) -> None:
    """
    The parent opens the sockets before it gives its rights away.
    """
    stage.directory.chmod(0o711)
    os.chmod(stage.engine_path, 0o666)
    process = await stage.run(
        *("--workers", "2", "--grace", "20"),
        twistd=("--nodaemon", "--pidfile=", f"--uid={NOBODY}", f"--gid={NOBODY}"),
    )
    found = await one_with_each(stage)
    assert {os.stat(f"/proc/{pid}").st_uid for pid in found} == {NOBODY}
    process.process.terminate()
    for client, engine in found.values():
        assert await ends_well(client, engine)
    assert await process.status() == 0
    assert f"can't remove {stage.socket}: Permission denied" in process.log.read_text()
