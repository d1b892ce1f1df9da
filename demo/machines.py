"""
The demo's three machines, kept for exploring: ``make demo-up``, ``demo-shell`` and ``demo-down``.

I/O: one process has the machines, and all goes with it.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

from demo.cluster import Cluster
from demo.engine import EngineError
from demo.images import import_images
from demo.place import Occupied, end_quietly, is_occupied, own_place
from demo.stage import ROOT, StageError

__all__ = ["DIRECTORY", "environment", "machines", "main"]

DIRECTORY = Path("/var/lib/powerstrip-demo")

HOSTS = {
    "node1": ("--label", "storage=disk"),
    "node2": ("--label", "storage=ssd"),
}

TARGET = "node2"
"""Where the database goes."""

MASTER_ADDRESS = IPv4Address("172.16.255.250")
"""As the Vagrantfile has it; the nodes' follow."""

START_SECONDS = 60.0
STOP_SECONDS = 60.0

_LOG = DIRECTORY / "log"
_READY = DIRECTORY / "pid"


def new_cluster() -> Cluster:
    return Cluster(DIRECTORY, "demo", HOSTS, first_address=MASTER_ADDRESS)


@contextmanager
def machines() -> Iterator[Cluster]:
    """
    The machines, ready for the demo, for as long as it lasts.

    Raises:
        Occupied: when they are there already.
    """
    with own_place(DIRECTORY), ExitStack() as stack:
        cluster = new_cluster()
        stack.callback(cluster.stop)
        stack.callback(end_quietly)
        cluster.start()
        with ThreadPoolExecutor() as pool:
            list(pool.map(import_images, [node.engine for node in cluster.nodes.values()]))
        yield cluster


def environment(cluster: Cluster, others: Mapping[str, str] = os.environ) -> dict[str, str]:
    """
    What ``run.sh`` has to know to speak to the machines, and a docker client to read nobody's
    settings.
    """
    kept = {name: value for name, value in others.items() if "DOCKER_" not in name}
    nodes = " ".join(f"{host}={node.docker_host}" for host, node in cluster.nodes.items())
    moved = [sys.executable, "-m", "demo.moved", str(cluster.nodes[TARGET].log("flocker"))]
    return {
        **kept,
        "POWERSTRIP_NODES": nodes,
        "POWERSTRIP_MOVED": " ".join(moved),
        "DOCKER_CONFIG": str(cluster.directory / "client"),
    }


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.strip().splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the machines, and leave them running")
    commands.add_parser("hold", help="what `up` starts: has the machines until it is ended")
    commands.add_parser("down", help="end them, and remove all of them")
    shell = commands.add_parser("shell", help="a shell on one of them")
    shell.add_argument("machine", choices=["master", *HOSTS])
    options = parser.parse_args(words)
    try:
        if options.command == "up":
            _up()
        elif options.command == "hold":
            _hold()
        elif options.command == "down":
            _down()
        else:
            _shell(options.machine)
    except (EngineError, Occupied, StageError) as error:
        print(f"demo-{options.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _up() -> None:
    if is_occupied(DIRECTORY):
        raise Occupied(f"another demo runs in {DIRECTORY}: make demo-down ends it")
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    _READY.unlink(missing_ok=True)
    with _LOG.open("wb") as log:
        holder = subprocess.Popen(
            [sys.executable, "-m", "demo.machines", "hold"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _READY.exists():
            if holder.poll() is not None:
                raise StageError(
                    _LOG.read_text() if _LOG.exists() else "the machines did not start"
                )
            if time.monotonic() > deadline:
                raise StageError(f"the machines did not start within {START_SECONDS:g} s")
            time.sleep(0.05)
    except BaseException:
        holder.terminate()
        holder.wait()
        raise
    print(
        "master, node1 and node2 run, each node with an engine, powerstrip and both adapters.\n"
        "  make demo-shell NODE=node1    a shell on it, whose docker speaks to its powerstrip\n"
        "  make demo-shell NODE=master   a shell from which run.sh reaches both: run.sh demo\n"
        "  make demo-down                ends them"
    )


def _hold() -> None:
    with machines():
        _READY.write_text(f"{os.getpid()}\n")
        signal.pause()


def _down() -> None:
    """
    End the machines; what a killed demo has left goes as well.
    """
    if is_occupied(DIRECTORY):
        try:
            holder = int(_READY.read_text())
        except (OSError, ValueError):
            raise Occupied(f"the demo in {DIRECTORY} was not started by demo-up") from None
        os.kill(holder, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while is_occupied(DIRECTORY):
            if time.monotonic() > deadline:
                raise StageError(f"process {holder} has not ended within {STOP_SECONDS:g} s")
            time.sleep(0.05)
    elif DIRECTORY.exists():
        with own_place(DIRECTORY):
            new_cluster().stop()


def _shell(machine: str) -> None:
    if not _READY.exists() or not is_occupied(DIRECTORY):
        raise StageError("there are no machines: make demo-up starts them")
    cluster = new_cluster()
    shown = {**environment(cluster), "PS1": f"{machine}# ", "PATH": _path()}
    if machine == "master":
        enter = cluster.master.enter
    else:
        node = cluster.nodes[machine]
        enter = node.enter
        shown["DOCKER_HOST"] = node.docker_host
    command = [*enter, "bash", "--norc", "-i"]
    with suppress(KeyboardInterrupt):
        subprocess.run(command, cwd=ROOT, env=shown)


def _path() -> str:
    """
    With the commands of this Python's environment, and those that only root has in its path.
    """
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"


if __name__ == "__main__":
    sys.exit(main())
