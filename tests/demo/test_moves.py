"""
The demo's database moves again and again, and while programs that it needs are killed.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from attrs import frozen

from demo.cluster import Cluster, why_not
from demo.machines import environment, machines
from demo.stage import ROOT
from tests.cluster.docker import Docker
from tests.cluster.hosts import until

MOVES = 10

STORAGE = {"node1": "disk", "node2": "ssd"}
"""How ``run.sh`` calls the nodes."""

HALFWAY = "phase 1 of 2"
"""What the flocker adapter says when most has come, and the database's node still owns it."""

SERVER_ADDRESS = "10.255.0.11"
VISITOR = ("-e", "WEAVE_CIDR=10.255.0.12/24", "powerstrip-demo-server", "visit")

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@frozen
class Visit:
    """
    A visit that the database has acknowledged.
    """

    seconds: float
    """When, since the machine was booted."""

    number: int


class Scene:
    """
    The machines with the web server on node1 and a visitor on node2, who asks all the time.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._docker = {
            host: Docker(node.docker_host, cluster.directory / "client")
            for host, node in cluster.nodes.items()
        }

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """
        Start a command of ``run.sh``.
        """
        return subprocess.Popen(
            ["./run.sh", *words],
            cwd=ROOT,
            env={**environment(self.cluster), "TEST_MODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        """
        The status of a command of ``run.sh``, and what it has printed.
        """
        process = self.begin(*words)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def must_run(self, *words: str) -> str:
        status, output = self.run(*words)
        assert status == 0, output
        return output

    def visit(self) -> int:
        """
        The number of a visit that is made now, from the web server itself.
        """
        return int(self.must_run("hit-http").split("visit ")[-1].split(",")[0])

    def start_visitor(self) -> None:
        name = ("--name", "demo-visitor")
        url = f"http://{SERVER_ADDRESS}/"
        self._docker["node2"].must("run", "-d", *name, *VISITOR, url)

    def visits(self) -> list[Visit]:
        """
        All that the visitor has noted.
        """
        notes = [
            line.split() for line in self._docker["node2"].must("logs", "demo-visitor").splitlines()
        ]
        return [Visit(float(seconds), int(number)) for seconds, number in notes]

    def wait_for_visit_after(self, number: int) -> None:
        until(lambda: self.visits()[-1].number > number)

    @property
    def free_host(self) -> str:
        """
        The node that the database is not on.
        """
        is_on_first = self._docker["node1"]("container", "inspect", "demo-api").status == 0
        return "node2" if is_on_first else "node1"

    def move_to(self, host: str) -> None:
        """
        Move the database, as a user does.
        """
        self.must_run("stop-api")
        self.must_run("start-api", STORAGE[host])

    def start_program(self, host: str, program: str) -> None:
        """
        Start Powerstrip or an adapter, which has ended.
        """
        if program == "powerstrip":
            self.cluster.nodes[host].start_powerstrip()
        elif program == "flocker":
            self.cluster.start_flocker(host)
        else:
            self.cluster.start_weave(host)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """
    The scene, with the database.
    """
    with machines("moves") as cluster:
        scene = Scene(cluster)
        scene.must_run("start-api", "disk")
        scene.must_run("start-server")
        scene.start_visitor()
        scene.visit()
        yield scene


def test_nothing_is_forgotten_in_ten_moves(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """
    There and back again: each counted visit has a higher number than all before it.
    """
    began = len(scene.visits())
    moments = [now()]
    for _ in range(MOVES):
        scene.move_to(scene.free_host)
        counted = scene.visit()
        scene.wait_for_visit_after(counted)
        moments.append(now())

    visits = scene.visits()[began:]
    forgotten = [other for one, other in pairwise(visits) if other.number <= one.number]
    gaps = [longest_silence(visits, *moment) for moment in pairwise(moments)]
    record_property("figure", f"demo: {figure(gaps, len(visits), len(forgotten))}")
    assert forgotten == []
    assert len(gaps) == MOVES


@pytest.mark.parametrize("program", ["powerstrip", "flocker", "weave"])
def test_a_program_that_is_killed_halfway_is_told_of_and_no_visit_is_forgotten(
    scene: Scene, program: str
) -> None:
    """
    On the node that the database goes to, Powerstrip or an adapter ends while the data comes. It
    starts again, and so does the database: at the latest when the move that was cut off has lost
    its claim on the data.
    """
    before = scene.visit()
    host = scene.free_host
    log = scene.cluster.nodes[host].log("flocker")
    said = log.read_text().count(HALFWAY) if log.exists() else 0
    scene.must_run("stop-api")

    start = scene.begin("start-api", STORAGE[host])
    until(lambda: log.read_text().count(HALFWAY) > said)
    scene.cluster.nodes[host].kill_program(program)
    output, _ = start.communicate(timeout=60)
    scene.start_program(host, program)

    assert start.returncode == 1
    assert ("error during connect" if program == "powerstrip" else f"adapter {program}") in output
    until(lambda: scene.run("start-api", STORAGE[host])[0] == 0)
    assert scene.free_host != host
    assert scene.visit() > before
    # The container that never came would be expected here for a minute and a half.
    scene.cluster.nodes[host].stop_program("flocker")
    scene.start_program(host, "flocker")


def test_without_etcd_nothing_moves_and_all_that_runs_goes_on(scene: Scene) -> None:
    """
    The web server goes on counting. Whoever starts the database anew, on either node, is told that
    etcd is away, and it moves when etcd is back.
    """
    host = scene.free_host
    scene.cluster.master.kill_program("etcd")
    try:
        before = scene.visit()
        scene.must_run("stop-api")
        refused = [scene.run("start-api", storage) for storage in STORAGE.values()]
    finally:
        scene.cluster.master.start_etcd()

    for status, output in refused:
        assert status == 1
        assert "etcd can't be asked who owns what" in output
    scene.must_run("start-api", STORAGE[host])
    assert scene.free_host != host
    assert scene.visit() > before


def now() -> float:
    """
    The time as the visitor notes it.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def longest_silence(visits: list[Visit], began: float, ended: float) -> float:
    """
    The longest time without a counted visit, which ended between two moments.
    """
    return max(
        other.seconds - one.seconds
        for one, other in pairwise(visits)
        if began < other.seconds <= ended
    )


def figure(gaps: list[float], visits: int, forgotten: int) -> str:
    silent = f"{min(gaps):.2f} / {statistics.median(gaps):.2f} / {max(gaps):.2f} s"
    lost = f"{forgotten} of {visits} acknowledged visits forgotten"
    return f"{len(gaps)} moves, silent for {silent} (min, median, max); {lost}"
