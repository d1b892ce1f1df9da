"""
Datasets of the flocker adapter on two hosts.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.cluster.docker import Outcome
from tests.cluster.hosts import Host, Observer, until

ROUNDS = 20

VISIT = """
cd /data
[ ! -e manifest ] || sha256sum -c manifest || exit 1
dd if=/dev/urandom of=file-$1 bs=1000 count=$2 2>/dev/null
sha256sum file-$1 >>manifest
"""
"""A container's command: checks all that earlier visits wrote, a line for each, and writes more."""

WRITE_ALL_THE_TIME = """
trap 'exit 0' TERM
number=0
while :; do number=$((number + 1)); echo $number >>/data/log; sync /data/log; echo $number; done
"""
"""A container's command: says a number when it is on disk."""

OPERATE = (str(Path(sys.executable).with_name("powerstrip-flocker")),)

ZFS = ("env", "PATH=/usr/sbin:/sbin:/usr/bin:/bin", "zfs")

LITTLE_BYTES = 20 * 2**20
"""Half of what does not fit into it; ``zfs`` says what is used to a tenth of it or so."""

_numbers = itertools.count(1)


@pytest.fixture
def dataset() -> str:
    """
    A dataset's name that no test has had.
    """
    return f"set{next(_numbers)}"


def run(host: Host, dataset: str, *command: str, options: tuple[str, ...] = ()) -> Outcome:
    """
    Run a container with a dataset to its end.
    """
    bind = ("-v", f"/flocker/{dataset}:/data")
    return host.docker("run", "--rm", *bind, *options, "busybox", *command)


def must_run(host: Host, dataset: str, *command: str, options: tuple[str, ...] = ()) -> str:
    outcome = run(host, dataset, *command, options=options)
    assert outcome.status == 0, outcome
    return outcome.stdout


def test_a_file_written_on_one_host_is_read_on_the_other(
    host1: Host, host2: Host, dataset: str
) -> None:
    """
    The talk's two commands.
    """
    must_run(host1, dataset, "sh", "-c", 'echo "hello" > /data/file.txt')

    expected = "hello\n"
    assert expected == must_run(host2, dataset, "sh", "-c", "cat /data/file.txt")


def test_nothing_is_lost_on_the_way_there_and_back(host1: Host, host2: Host, dataset: str) -> None:
    """
    After each of twenty moves in each direction, all that was ever written is there.
    """
    for number in range(ROUNDS):
        for host in (host1, host2):
            visit = f"{number}-{host.node.host}"
            checked = must_run(host, dataset, "sh", "-ec", VISIT, "sh", visit, str(50 * number))
            expected = 2 * number + (host is host2)
            assert expected == checked.count(": OK\n")


def test_a_running_writer_keeps_its_dataset(host1: Host, host2: Host, dataset: str) -> None:
    """
    A move is refused, with the container's and the host's names, as long as the writer runs. It
    goes on writing, and nothing that it said it had written is missing on the other host.
    """
    bind = ("-v", f"/flocker/{dataset}:/data")
    host1.docker.must(
        "run", "-d", "--name", "writer", *bind, "busybox", "sh", "-c", WRITE_ALL_THE_TIME
    )
    until(lambda: host1.docker.must("logs", "writer"))

    refused = run(host2, dataset, "true")
    assert refused.status == 125
    assert re.search(rf"{dataset} is used by writer on node1", refused.stderr), refused
    before = len(host1.docker.must("logs", "writer").splitlines())
    until(lambda: len(host1.docker.must("logs", "writer").splitlines()) > before)
    host1.docker.must("stop", "writer")
    said = host1.docker.must("logs", "writer").splitlines()

    found = must_run(host2, dataset, "cat", "/data/log").splitlines()
    assert said == found[: len(said)]
    assert len(found) - len(said) <= 1  # it was on disk, and not said yet


def test_a_created_container_keeps_its_dataset(host1: Host, host2: Host, dataset: str) -> None:
    """
    A container that was not started yet uses its dataset, until it is removed.
    """
    bind = ("-v", f"/flocker/{dataset}:/data")
    host1.docker.must("create", "--name", "later", *bind, "busybox", "true")

    refused = run(host2, dataset, "true")
    host1.docker.must("rm", "later")

    assert refused.status == 125
    assert "later" in refused.stderr
    must_run(host2, dataset, "true")


def test_a_container_is_started_again_where_its_dataset_was_taken_from(
    host1: Host, host2: Host, dataset: str
) -> None:
    """
    A stopped container gets its dataset back from the host that it has gone to, and can't be
    started while it is used there.
    """
    bind = ("-v", f"/flocker/{dataset}:/data")
    add = ("sh", "-c", "echo again >>/data/log; cat /data/log")
    host1.docker.must("run", "--name", "first", *bind, "busybox", *add)
    host2.docker.must("run", "-d", "--name", "second", *bind, "busybox", "sleep", "600")

    refused = host1.docker("start", "--attach", "first")
    host2.docker.must("rm", "--force", "second")

    assert refused.status == 1
    assert "second" in refused.stderr
    assert host1.docker.must("start", "--attach", "first") == "again\nagain"


def test_two_datasets_come_together_or_not_at_all(host1: Host, host2: Host, dataset: str) -> None:
    """
    A container that asks for two datasets gets none where one of them is in use.
    """
    free, used = f"{dataset}-free", f"{dataset}-used"
    must_run(host1, free, "touch", "/data/here")
    bind = ("-v", f"/flocker/{used}:/data")
    host1.docker.must("run", "-d", "--name", "user", *bind, "busybox", "sleep", "600")
    both = ("-v", f"/flocker/{used}:/other:ro")

    refused = run(host2, free, "true", options=both)
    where = owner(host1, free)
    host1.docker.must("rm", "--force", "user")

    assert refused.status == 125
    assert where == "node1"
    assert must_run(host2, free, "ls", "/data", options=both) == "here\n"
    assert [owner(host1, name) for name in (free, used)] == ["node2", "node2"]


def test_of_two_hosts_that_ask_at_once_each_is_served_or_told_why(
    host1: Host, host2: Host, dataset: str
) -> None:
    """
    Of several containers on both hosts each writes, or is refused with a 409's sentence. What they
    have written is there in the end.
    """
    must_run(host1, dataset, "touch", "/data/log")

    def append(number: int) -> tuple[int, Outcome]:
        host = (host1, host2)[number % 2]
        return number, run(host, dataset, "sh", "-c", f"echo {number} >>/data/log")

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(append, range(12)))

    done = [number for number, outcome in outcomes if outcome.status == 0]
    refused = [outcome for _, outcome in outcomes if outcome.status != 0]
    assert done
    for outcome in refused:
        assert outcome.status == 125
        assert re.search(f"flocker: .*{dataset} ", outcome.stderr), outcome
    until(lambda: run(host1, dataset, "true").status == 0)
    assert sorted(done) == sorted(map(int, must_run(host1, dataset, "cat", "/data/log").split()))


def test_a_new_dataset_is_made_once(host1: Host, host2: Host, dataset: str) -> None:
    """
    Where both hosts ask for a dataset that is nowhere yet, there is one afterwards.
    """

    def append(host: Host) -> Outcome:
        return run(host, dataset, "sh", "-c", f"echo {host.node.host} >>/data/log")

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(append, (host1, host2)))

    done = [
        host.node.host
        for host, outcome in zip((host1, host2), outcomes, strict=True)
        if outcome.status == 0
    ]
    until(lambda: run(host1, dataset, "true").status == 0)
    assert done
    assert sorted(done) == sorted(must_run(host1, dataset, "cat", "/data/log").split())


def test_a_full_target_leaves_the_dataset_where_it_was(
    host1: Host, host2: Host, dataset: str
) -> None:
    """
    Where there is no room, the docker client says so, and the dataset goes on where it is.
    """
    fill = "dd if=/dev/urandom of=/data/big bs=1M count=40 2>/dev/null; sha256sum /data/big"
    written = must_run(host1, dataset, "sh", "-c", fill)
    with little_room(host2):
        refused = run(host2, dataset, "true")

    assert refused.status == 125
    assert re.search("no space|out of space|quota", refused.stderr), refused
    assert must_run(host1, dataset, "sha256sum", "/data/big") == written
    assert must_run(host2, dataset, "sha256sum", "/data/big") == written


def test_a_dataset_that_is_gone_everywhere_is_not_made_anew(
    host1: Host, host2: Host, dataset: str
) -> None:
    """
    Where the owner's storage has lost it, an empty one in its place would hide that.
    """
    must_run(host1, dataset, "touch", "/data/here")
    zfs(host1, "destroy", "-r", f"flocker/{dataset}")

    outcomes = [run(host, dataset, "true") for host in (host1, host2)]

    for outcome in outcomes:
        assert outcome.status == 125
        assert dataset in outcome.stderr


def test_a_foreign_dataset_of_the_name_is_left_alone(
    host1: Host, host2: Host, dataset: str
) -> None:
    """
    What is on the target by another way is not overwritten.
    """
    must_run(host1, dataset, "touch", "/data/here")
    zfs(host2, "create", f"flocker/{dataset}")
    host2.node.run("touch", str(host2.node.pool.mount_point / dataset / "foreign"))

    refused = run(host2, dataset, "true")

    assert refused.status == 125
    assert f"node2 has another dataset that is called {dataset}" in refused.stderr
    assert host2.node.run("ls", str(host2.node.pool.mount_point / dataset)) == "foreign\n"
    assert must_run(host1, dataset, "ls", "/data") == "here\n"
    zfs(host2, "destroy", "-r", f"flocker/{dataset}")


def test_both_adapters_serve_one_container(
    host1: Host, host2: Host, dataset: str, address: IPv4Interface, observer: Observer
) -> None:
    """
    A server moves with its address and its data.
    """
    both = ("-e", f"WEAVE_CIDR={address}", "-v", f"/flocker/{dataset}:/www")
    for host in (host1, host2):
        say = f"echo {host.node.host} >>/www/index.html; exec httpd -f -h /www"
        host.docker.must("run", "-d", "--name", "server", *both, "busybox", "sh", "-c", say)
        until(lambda: observer.asks(address))
        host.docker.must("rm", "--force", "server")

    must_run(host1, dataset, "true")
    assert must_run(host1, dataset, "cat", "/data/index.html") == "node1\nnode2\n"


def owner(host: Host, dataset: str) -> str:
    """
    Who owns a dataset, as ``powerstrip-flocker inspect`` says it.
    """
    found = re.search(r"owner\W+(\w+)", operate(host, "inspect", dataset), re.IGNORECASE)
    assert found is not None
    return found[1]


def operate(host: Host, *words: str) -> str:
    """
    What ``powerstrip-flocker`` prints.
    """
    return host.node.run(*OPERATE, *words, "--at", f"unix://{host.node.socket('flocker')}")


@contextmanager
def little_room(host: Host) -> Iterator[None]:
    """
    A pool that is about full.
    """
    used = host.node.run(*ZFS, "get", "-H", "-o", "value", "used", "flocker").strip()
    used_bytes = float(used[:-1]) * 1024 ** (1 + "KMG".index(used[-1]))
    zfs(host, "set", f"quota={int(used_bytes) + LITTLE_BYTES}", "flocker")
    try:
        yield
    finally:
        zfs(host, "set", "quota=none", "flocker")


def zfs(host: Host, *words: str) -> None:
    """
    Run ``zfs`` on a host, which may be busy for a moment with what was just unmounted.
    """
    until(lambda: host.node.succeeds(*ZFS, *words))
