"""
Which docker commands ``run.sh`` runs, and where. Its docker client is ``fake_docker``.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NODES = "node1=one node2=two"

START_API = "run --detach --name demo-api --pull never"
API = "-e WEAVE_CIDR=10.255.0.10/24 -v /flocker/data1:/data powerstrip-demo-redis"
SERVER = "-e WEAVE_CIDR=10.255.0.11/24 -e DATABASE=10.255.0.10 powerstrip-demo-server"


class Machines:
    """
    Two nodes with labels and, where it is started, a Swarm; and ``run.sh`` before them.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = {"POWERSTRIP_NODES": NODES, "TEST_MODE": "1"}
        (directory / "bin").mkdir()
        (directory / "bin" / "docker").symlink_to(Path(__file__).with_name("fake_docker"))
        (directory / "bin" / "sleep").symlink_to("/bin/true")
        self.add("one", "storage=disk")
        self.add("two", "storage=ssd")
        self.note_visits("100.00 1", "100.10 2", "102.35 3")

    def add(self, host: str, *labels: str, version: str = "20.10.24") -> None:
        place = self.directory / host
        place.mkdir(exist_ok=True)
        (place / "labels").write_text("".join(f"{label}\n" for label in labels))
        (place / "version").write_text(f"{version}\n")

    def start_swarm(self) -> None:
        self.add("master", version="swarm/1.2.9")
        self.settings["DOCKER_HOST"] = "master"

    def note_visits(self, *notes: str) -> None:
        (self.directory / "visits").write_text("".join(f"{note}\n" for note in notes))

    def run(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """
        Run ``run.sh``, and print what was typed and it has not read.
        """
        kept = {name: value for name, value in os.environ.items() if "DOCKER" not in name}
        path = f"{self.directory / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", 'bash "$0" "$@"; status=$?; cat; exit $status', ROOT / "run.sh", *words],
            env={**kept, "PATH": path, "FAKE": str(self.directory), **self.settings},
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def commands(self, word: str) -> list[str]:
        """
        The docker commands of a kind, each behind its DOCKER_HOST.
        """
        lines = (self.directory / "commands").read_text().splitlines()
        return [line for line in lines if line.split()[1] == word]


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


@pytest.mark.parametrize(("storage", "host"), [("disk", "one"), ("ssd", "two")])
def test_database_starts_on_the_node_with_the_label(
    machines: Machines, storage: str, host: str
) -> None:
    """
    Without a Swarm each engine is asked for its labels.
    """
    machines.run("start-api", storage)

    assert [f"{host} {START_API} {API}"] == machines.commands("run")


def test_labels_are_compared_whole(machines: Machines) -> None:
    """
    A node whose label only contains the one that is looked for is not the one.
    """
    machines.add("one", "storage=ssd-old", "old-storage=ssd")
    machines.run("start-api", "ssd")

    assert [f"two {START_API} {API}"] == machines.commands("run")


def test_swarm_chooses_the_node_by_a_constraint(machines: Machines) -> None:
    """
    Where DOCKER_HOST names a Swarm all commands go there, and none to a node.
    """
    machines.start_swarm()
    machines.run("start-api", "ssd")
    machines.run("start-server")
    machines.run("stop-api")

    expected = [
        f"master {START_API} -e constraint:storage==ssd {API}",
        f"master run --detach --name demo-server --pull never -e constraint:storage==disk {SERVER}",
    ]
    assert expected == machines.commands("run")
    assert machines.commands("stop") == ["master stop demo-api"]
    assert machines.commands("rm") == ["master rm demo-api"]


def test_engine_that_docker_host_names_is_no_swarm(machines: Machines) -> None:
    """
    A DOCKER_HOST that is an engine's leaves the choice to the labels.
    """
    machines.settings["DOCKER_HOST"] = "one"
    machines.run("start-api", "ssd")

    assert [f"two {START_API} {API}"] == machines.commands("run")


@pytest.mark.parametrize("host", ["one", "two"])
def test_containers_are_found_where_they_run(machines: Machines, host: str) -> None:
    """
    What is stopped, and what is asked for a page, is looked for on each node.
    """
    (machines.directory / host / "demo-server").touch()
    shown = machines.run("hit-http").stdout.splitlines()
    machines.run("stop-server")

    assert shown[-1] == "   visit 1, counted by the database at 10.255.0.10"
    assert [f"{host} exec demo-server wget -q -O - http://10.255.0.11/"] == machines.commands(
        "exec"
    )
    assert [f"{host} stop demo-server"] == machines.commands("stop")
    assert [f"{host} rm demo-server"] == machines.commands("rm")


def test_images_are_built_on_each_node(machines: Machines) -> None:
    """
    Each node gets both, also behind a Swarm, which would build on one.
    """
    machines.start_swarm()
    machines.run("build")

    expected = [
        f"{host} build --quiet --tag powerstrip-demo-{image} demo/images/{image}"
        for host in ("one", "two")
        for image in ("redis", "server")
    ]
    assert expected == machines.commands("build")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "not a command: frobnicate (run.sh help shows them)"),
        (["start-api"], "not a command: start-api (run.sh help shows them)"),
        (["start-api", "tape"], "not a command: start-api tape (run.sh help shows them)"),
        (["stop-api"], "there is no demo-api"),
        (["hit-http"], "there is no demo-server"),
    ],
)
def test_what_cannot_be_is_refused(machines: Machines, words: list[str], said: str) -> None:
    """
    One sentence says why nothing was done.
    """
    done = machines.run(*words)

    assert (1, f"run.sh: {said}\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"POWERSTRIP_NODES": "node1=one"}, "no node has the label storage=ssd: node1"),
        ({"POWERSTRIP_NODES": "a=nowhere"}, "a does not answer at nowhere"),
        ({"POWERSTRIP_NODES": "one"}, "POWERSTRIP_NODES: not NAME=DOCKER_HOST: one"),
        ({"DOCKER_HOST": "nowhere"}, "nothing answers at DOCKER_HOST=nowhere"),
    ],
)
def test_cluster_that_is_not_there_is_named(
    machines: Machines, settings: dict[str, str], said: str
) -> None:
    """
    The last line says which node or setting it is, and nothing was started.
    """
    machines.settings |= settings
    done = machines.run("start-api", "ssd")

    assert done.returncode == 1
    assert f"run.sh: {said}" == done.stderr.splitlines()[-1]
    assert not any((machines.directory / host / "demo-api").exists() for host in ("one", "two"))


def test_demo_moves_the_database(machines: Machines) -> None:
    """
    It runs on node1, is stopped, and is started on node2; what was proved is the last line.
    """
    machines.settings["POWERSTRIP_MOVED"] = r"printf %s\n 1.3MiB 1.2MiB 0.1MiB"
    done = machines.run("demo")

    expected = "Proved: count 2, then 3, at 10.255.0.10; 1.3MiB moved, 2.25 s silent."
    assert (0, expected) == (done.returncode, done.stdout.splitlines()[-1])
    api = [line for line in machines.commands("run") if "demo-api" in line]
    assert [f"one {START_API} {API}", f"two {START_API} {API}"] == api
    assert machines.commands("rm") == ["one rm demo-api", "two rm demo-visitor"]


def test_demo_shows_each_command_that_matters(machines: Machines) -> None:
    """
    The command that moves the database is shown as one could type it, in 80 columns.
    """
    shown = machines.run("demo").stdout
    command = (
        "   node2$ docker run --detach --name demo-api --pull never \\\n"
        "       -e WEAVE_CIDR=10.255.0.10/24 -v /flocker/data1:/data \\\n"
        "       powerstrip-demo-redis\n"
    )

    assert command in shown
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_demo_begins_again_where_another_one_was_left(machines: Machines) -> None:
    """
    Containers that run from before are removed first.
    """
    (machines.directory / "two" / "demo-api").touch()
    done = machines.run("demo")

    assert done.returncode == 0
    assert machines.commands("rm")[0] == "two rm demo-api"


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        (("100.00 8", "100.10 9", "102.35 8"), "the database has forgotten 2 visits"),
        (("100.00 8",), "the visitor saw no two pages"),
    ],
)
def test_demo_fails_where_it_proves_nothing(
    machines: Machines, notes: tuple[str, ...], said: str
) -> None:
    """
    A visit that was counted and forgotten is no success, and neither is a visitor without pages.
    """
    machines.note_visits(*notes)
    done = machines.run("demo")

    assert done.returncode == 1
    assert f"run.sh: {said}" == done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("mode", "left"), [("1", "1\n2\n3\n4\n5\n6\n7\n8\n"), ("", "7\n8\n")])
def test_demo_waits_for_a_key_between_its_steps(machines: Machines, mode: str, left: str) -> None:
    """
    Seven steps have six pauses, and with TEST_MODE=1 none.
    """
    machines.settings["TEST_MODE"] = mode
    shown = machines.run("demo", typed="1\n2\n3\n4\n5\n6\n7\n8\n").stdout

    assert left == shown.split("silent.\n")[-1]
