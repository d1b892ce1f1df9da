"""
The demo's three machines, kept for exploring: ``make demo-up``, ``demo-shell`` and ``demo-down``.

I/O: one process has the machines, and all goes with it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from powerstrip_flocker.errors import FlockerError

from demo.cluster import Cluster, why_not
from demo.engine import EngineError
from demo.images import import_images
from demo.mounts import MountsError
from demo.node import Node
from demo.place import Occupied, end_quietly, is_occupied, own_place
from demo.pool import BtrfsPool, NewPool, new_pool
from demo.stage import ROOT, StageError

__all__ = ["DEFAULT_NAME", "FAILURES", "environment", "machines", "main", "new_cluster", "place"]

DEFAULT_NAME = "demo"

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

ADAPTERS = ("flocker", "weave")
"""Each has a command ``powerstrip-ADAPTER`` for operators."""

FAILURES = (EngineError, FlockerError, MountsError, Occupied, StageError)
"""Why there are no machines, in words that a user understands."""


def place(name: str) -> Path:
    """
    Where all files of a demo are.
    """
    return Path(f"/var/lib/powerstrip-{name}")


def new_cluster(name: str, new_pool: NewPool = new_pool) -> Cluster:
    return Cluster(place(name), name, HOSTS, first_address=MASTER_ADDRESS, new_pool=new_pool)


@contextmanager
def machines(name: str = DEFAULT_NAME, new_pool: NewPool = new_pool) -> Iterator[Cluster]:
    """
    The machines, ready for the demo, for as long as it lasts.

    Args:
        name: Of the demo's directory and namespaces: demos of two names know nothing of each other.

    Raises:
        Occupied: when they are there already.
    """
    with own_place(place(name)), ExitStack() as stack:
        _ready(name).unlink(missing_ok=True)
        cluster = new_cluster(name, new_pool)
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
    parser.add_argument("--name", default=DEFAULT_NAME, help="for a demo beside others")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the machines, and leave them running")
    hold = commands.add_parser("hold", help="what `up` starts: has the machines until it is ended")
    for command in (up, hold):
        command.add_argument("--btrfs", action="store_true", help="no ZFS, even if there is FUSE")
    commands.add_parser("down", help="end them, and remove all of them")
    shell = commands.add_parser("shell", help="a shell on one of them")
    shell.add_argument("machine", choices=["master", *HOSTS])
    options = parser.parse_args(words)
    try:
        if options.command == "up":
            _up(options.name, ["--btrfs"] if options.btrfs else [])
        elif options.command == "hold":
            _hold(options.name, BtrfsPool if options.btrfs else new_pool)
        elif options.command == "down":
            _down(options.name)
        else:
            _shell(options.name, options.machine)
    except FAILURES as error:
        print(f"demo-{options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"demo-{options.command}: interrupted, and cleaned up", file=sys.stderr)
        return 130
    return 0


def _ready(name: str) -> Path:
    """
    A file with the process id of what holds the machines, once they are ready.
    """
    return place(name) / "pid"


def _up(name: str, options: list[str]) -> None:
    reason = why_not()
    if reason is not None:
        raise StageError(reason)
    if is_occupied(place(name)):
        raise Occupied(f"another demo runs in {place(name)}: make demo-down ends it")
    place(name).mkdir(mode=0o700, parents=True, exist_ok=True)
    _ready(name).unlink(missing_ok=True)
    # It can be read here also when it has gone with the place.
    with (place(name) / "log").open("w+b") as log:
        holder = subprocess.Popen(
            [sys.executable, "-m", "demo.machines", "--name", name, "hold", *options],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _ready(name).exists():
                if holder.poll() is not None:
                    log.seek(0)
                    why = log.read().decode(errors="replace").strip()
                    raise StageError(why.removeprefix("demo-hold: "))
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
        "  make demo-shell NODE=master   a shell from which run.sh reaches both: ./run.sh demo\n"
        "  make demo-down                ends them"
    )


def _hold(name: str, new_pool: NewPool) -> None:
    with machines(name, new_pool):
        _ready(name).write_text(f"{os.getpid()}\n")
        signal.pause()


def _down(name: str) -> None:
    """
    End the machines; what a killed demo has left goes as well.
    """
    if is_occupied(place(name)):
        try:
            holder = int(_ready(name).read_text())
        except (OSError, ValueError):
            raise Occupied(f"the demo in {place(name)} was not started by demo-up") from None
        os.kill(holder, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while is_occupied(place(name)):
            if time.monotonic() > deadline:
                raise StageError(f"process {holder} has not ended within {STOP_SECONDS:g} s")
            time.sleep(0.05)
    elif place(name).exists():
        with own_place(place(name)):
            new_cluster(name).stop()


def _shell(name: str, machine: str) -> None:
    if not _ready(name).exists() or not is_occupied(place(name)):
        raise StageError("there are no machines: make demo-up starts them")
    cluster = new_cluster(name)
    shown = {**environment(cluster), "PATH": _path()}
    enter = cluster.master.enter
    if machine in cluster.nodes:
        node = cluster.nodes[machine]
        enter = node.enter
        shown["DOCKER_HOST"] = node.docker_host
        shown["PATH"] = f"{_operators_commands(node)}:{shown['PATH']}"
    settings = cluster.directory / f"{machine}.bashrc"
    # Who enters a mount namespace comes out at its root.
    settings.write_text(f"PS1='{machine}# '\ncd {shlex.quote(str(ROOT))}\n")
    os.execvpe(enter[0], [*enter, "bash", "--rcfile", str(settings), "-i"], shown)


def _operators_commands(node: Node) -> Path:
    """
    A directory with the adapters' own commands, which know where this node's adapters listen.
    """
    directory = node.directory / "bin"
    directory.mkdir(exist_ok=True)
    for adapter in ADAPTERS:
        command = Path(sys.executable).with_name(f"powerstrip-{adapter}")
        words = [str(command), "--at", f"unix://{node.socket(adapter)}"]
        script = directory / command.name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        script.chmod(0o755)
    return directory


def _path() -> str:
    """
    With the commands of this Python's environment, and those that only root has in its path.
    """
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"


if __name__ == "__main__":
    sys.exit(main())
