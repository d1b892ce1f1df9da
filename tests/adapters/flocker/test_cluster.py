"""
Two services with a real etcd between them, each with an engine and a storage in memory.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from powerstrip_flocker.peers.keys import make_keys as make_node_keys
from powerstrip_flocker.testing import FakeStorage

from tests.adapters.flocker.ledger.etcd_server import EtcdServer, make_keys, start_etcd
from tests.adapters.flocker.test_service import Stage
from tests.net.harness import until
from tests.net.peers import reactor

# Twisted's own, of a certificate that it shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

PASSWORD = "se:cret"


@define
class Cluster:
    """
    An etcd with TLS and a user, and what nodes are told of it.
    """

    etcd: EtcdServer
    directory: Path

    def words(self, node: str, storage: str = "zfs:flocker") -> list[str]:
        """
        The options of a node.
        """
        assert self.etcd.keys is not None
        keys, own = self.etcd.keys, self.directory / "nodes"
        return [
            *["--node", node, "--storage", storage, "--etcd", ",".join(self.etcd.endpoints)],
            *[
                "--etcd-ca",
                str(keys.ca),
                "--etcd-cert",
                str(keys.cert),
                "--etcd-key",
                str(keys.key),
            ],
            *["--etcd-user", str(self.directory / "user"), "--peer-listen", "127.0.0.1:0"],
            *["--tls-ca", str(own / "ca.pem"), "--tls-cert", str(own / node / "cert.pem")],
            *["--tls-key", str(own / node / "key.pem")],
        ]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """
    An etcd, and keys for two nodes.
    """
    directory = tmp_path_factory.mktemp("cluster")
    etcd = start_etcd(directory, keys=make_keys(directory / "etcd"))
    etcd.add_user(PASSWORD)
    (directory / "user").write_text(f"root:{PASSWORD}\n")
    make_node_keys(directory / "nodes", ["node1", "node2"])
    yield Cluster(etcd, directory)
    etcd.stop()


@pytest_twisted.async_yield_fixture
async def nodes(cluster: Cluster, short_tmp: Path) -> AsyncIterator[tuple[Stage, Stage]]:
    """
    Two nodes that have started, with nothing in their storages.
    """
    usual = signal.getsignal(signal.SIGTERM)
    cluster.etcd.clear()
    stages = []
    for name in ("node1", "node2"):
        directory = short_tmp / name
        directory.mkdir()
        stage = Stage(directory, FakeStorage(directory / "pool"), *cluster.words(name))
        stage.start_engine()
        stage.service.startService()
        stages.append(stage)
    for stage in stages:
        await until(lambda stage=stage: Path(stage.socket).exists(), "it listens")
        await until(lambda stage=stage: bool(stage.engine._listeners), "it follows")
    yield stages[0], stages[1]
    for stage in stages:
        await stage.stop()
    signal.signal(signal.SIGTERM, usual)


async def run(stage: Stage, name: str, **files: bytes) -> tuple[int, Any]:
    """
    Have a container that writes files, runs and ends.
    """
    code, reply = await stage.bind(f"/flocker/{name}:/x")
    if code == 200:
        container_id = stage.engine.run("box", Binds=[f"{stage.storage.mount_point(name)}:/x"])
        for file, content in files.items():
            stage.storage.write(name, file, content)
        stage.engine._tell("create", stage.engine.containers[container_id])
        await until(lambda: not stage_expects(stage, name), "it has been seen")
        stage.engine.remove(container_id)
    return code, reply


def stage_expects(stage: Stage, name: str) -> bool:
    """
    Whether a container of a dataset is still to come, as far as the adapter knows.
    """
    follow = stage.service._parts.run
    uses: Any = follow.__self__._happened.__self__  # type: ignore[attr-defined]
    return bool(uses._expecting(name))


@pytest_twisted.ensureDeferred
async def test_a_dataset_follows_its_container(nodes: tuple[Stage, Stage]) -> None:
    """
    There and back, with what was written on both sides.
    """
    one, two = nodes
    assert (await run(one, "a", file=b"hello"))[0] == 200
    assert (await run(two, "a", second=b"there"))[0] == 200
    assert not await one.storage.is_writable("a")
    assert (await run(one, "a"))[0] == 200
    assert one.storage.read("a") == {"file": b"hello", "second": b"there"}
    assert not await two.storage.is_writable("a")
    status = await two.get("/status")
    assert set(status["nodes"]) == {"node1", "node2"}
    assert [(it["name"], it["owner"]) for it in status["datasets"]] == [("a", "node1")]


@pytest_twisted.ensureDeferred
async def test_a_dataset_in_use_stays_where_it_is(nodes: tuple[Stage, Stage]) -> None:
    """
    The sentence names the container and the node.
    """
    one, two = nodes
    assert (await one.bind("/flocker/a:/x"))[0] == 200
    container = one.engine.run("writer", Binds=[f"{one.storage.mount_point('a')}:/x"])
    one.engine._tell("create", one.engine.containers[container])
    await until(lambda: not stage_expects(one, "a"), "it has been seen")
    code, reply = await two.bind("/flocker/a:/x", "/flocker/b:/y")
    assert (code, reply) == (409, {"message": "flocker: a is used by writer on node1"})
    assert not await two.storage.exists("b")
    one.engine.remove(container)
    assert (await two.bind("/flocker/a:/x", "/flocker/b:/y"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_a_node_waits_for_its_etcd(cluster: Cluster, short_tmp: Path) -> None:
    """
    Nobody is let in before it is there: the whole cluster may be starting.
    """
    usual = signal.getsignal(signal.SIGTERM)
    (member,) = cluster.etcd.members
    member.send(signal.SIGSTOP)
    stage = Stage(short_tmp, FakeStorage(short_tmp / "pool"), *cluster.words("node1"))
    try:
        stage.service.startService()
        waited_until = reactor.seconds() + 5
        await until(lambda: reactor.seconds() > waited_until, "it waits")
        assert not Path(stage.socket).exists()
    finally:
        member.send(signal.SIGCONT)
    await until(lambda: Path(stage.socket).exists(), "it listens")
    await stage.stop()
    signal.signal(signal.SIGTERM, usual)
