"""
The driver for Weave Net, with a command that says what Weave Net's says.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from powerstrip_weave.errors import AddressInUse, NetworkError, NotRunning
from powerstrip_weave.interfaces import Peer
from powerstrip_weave.networks.command import CommandReactor
from powerstrip_weave.networks.weave import WeaveNetwork
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.adapters.weave.networks.contract import NetworkContract
from tests.adapters.weave.networks.weave_host import PEER, WeaveHost

A = IPv4Interface("10.2.1.1/24")
B = IPv4Interface("10.2.2.1/24")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[WeaveHost]:
    """
    A host on which Weave Net runs.
    """
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        pytest.skip("needs the right to make network namespaces")
    host = WeaveHost(tmp_path)
    yield host
    host.stop()


@pytest.fixture
def log() -> Iterator[list[LogEvent]]:
    """
    What is logged.
    """
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


class TestWeaveNetwork(NetworkContract):
    """
    The contract.
    """


@pytest_twisted.ensureDeferred
async def test_a_container_has_all_its_addresses(host: WeaveHost) -> None:
    """
    All addresses are on the one interface, and the network is asked how it is before.
    """
    network, container = host.network, host.run()

    await network.attach(container, (A, B))

    assert host.addresses(container) == {A, B}
    assert host.asked()[-1] == "attach"
    assert set(host.asked()) == {"ps", "status", "attach"}
    assert {container.id: (A, B)} == await network.attachments()


@pytest_twisted.ensureDeferred
async def test_a_container_has_no_other_address(host: WeaveHost) -> None:
    """
    What a container was attached to by hand goes; what it keeps is not touched.
    """
    network, container = host.network, host.run()
    await host.new_network().attach(container, (A, B))

    await network.attach(container, (A,))

    assert host.addresses(container) == {A}
    assert host.asked()[-1] == "detach"


@pytest_twisted.ensureDeferred
async def test_what_is_being_attached_is_kept(host: WeaveHost) -> None:
    """
    A container that is not yet among those to keep stays, since it is being attached.
    """
    host.say("hang-attach", "0.5")
    network, container = host.network, host.run()
    attaching = Deferred.fromCoroutine(network.attach(container, (A,)))

    await network.keep_only(frozenset())
    assert not attaching.called
    await attaching

    assert await network.attachments() == {container.id: (A,)}


@pytest_twisted.ensureDeferred
async def test_a_restarted_container_is_attached_anew(host: WeaveHost) -> None:
    """
    A container that has been restarted has lost its address, and has it back by a second attach.
    """
    network, container = host.network, host.run()
    await network.attach(container, (A,))
    again = host.restart(container)
    assert await network.attachments() == {}

    await network.attach(again, (A,))

    assert host.addresses(again) == {A}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("router", "sentence"),
    [
        ("stopped", "weave status: weave container is not running."),
        ("", "weave status: weave container is not present. Have you launched it?"),
    ],
)
async def test_no_address_is_given_where_it_would_not_work(
    host: WeaveHost, router: str, sentence: str
) -> None:
    """
    Where Weave Net is stopped, or was never launched, attaching fails with its own sentence.
    """
    host.say("router", router)
    network, container = host.network, host.run()

    with pytest.raises(NetworkError) as caught:
        await network.attach(container, (A,))

    assert sentence == str(caught.value)
    assert host.addresses(container) == set()
    assert "attach" not in host.asked()
    with pytest.raises(NetworkError, match="weave container is not"):
        await network.start()


@pytest_twisted.ensureDeferred
async def test_an_address_of_another_peer_is_refused(host: WeaveHost) -> None:
    """
    An address that another node holds is refused by name, and none of the others is given.
    """
    host.use_elsewhere(B)
    container = host.run()

    with pytest.raises(AddressInUse) as caught:
        await host.new_network().attach(container, (A, B))

    holder = f"Weave Net's peer {PEER}"
    assert f"the address 10.2.2.1 is in use on the network by {holder}" == str(caught.value)
    assert host.addresses(container) == set()


@pytest_twisted.ensureDeferred
async def test_an_address_of_another_container_is_refused(host: WeaveHost) -> None:
    """
    An address that another container of this host has is refused, and stays with that one.
    """
    network, first, second = host.network, host.run(), host.run()
    await network.attach(first, (A,))

    with pytest.raises(AddressInUse) as caught:
        await network.attach(second, (A,))

    sentence = f"the address 10.2.1.1 is in use on the network by container {first.id[:12]}"
    assert sentence == str(caught.value)
    assert (host.addresses(first), host.addresses(second)) == ({A}, set())


@pytest_twisted.ensureDeferred
async def test_a_container_that_has_ended_is_not_running(host: WeaveHost) -> None:
    """
    Attaching a container that has ended says so.
    """
    container = host.run()
    host.end(container)

    with pytest.raises(NotRunning) as caught:
        await host.new_network().attach(container, (A,))

    assert f"weave attach: container {container.id} not running" == str(caught.value)


@pytest_twisted.ensureDeferred
async def test_a_warning_is_no_failure(host: WeaveHost, log: list[LogEvent]) -> None:
    """
    What Weave Net says while it does what it is asked goes to the log.
    """
    host.say("routes", "10.2.0.0/16\n")
    container = host.run()

    await host.new_network().attach(container, (A,))

    assert host.addresses(container) == {A}
    said = "weave attach: Address 10.2.1.1 overlaps with existing route 10.2.0.0/16 on host."
    assert [said] == [formatEvent(event) for event in log]


@pytest_twisted.ensureDeferred
async def test_a_command_that_hangs_is_killed_with_its_children(host: WeaveHost) -> None:
    """
    A command that does not end in time fails the attaching, and leaves no process behind.
    """
    seconds = f"1000.{os.getpid()}"
    host.say("hang-attach", seconds)
    begin = time.monotonic()

    with pytest.raises(NetworkError) as caught:
        await host.new_network(timeout_seconds=2).attach(host.run(), (A,))

    assert str(caught.value) == "weave attach did not end within 2 s"
    assert time.monotonic() - begin < 10
    assert [pid for pid in Path("/proc").glob("[0-9]*") if _sleeps(pid, seconds)] == []


def _sleeps(pid: Path, seconds: str) -> bool:
    try:
        return b"sleep\0%s\0" % seconds.encode() == (pid / "cmdline").read_bytes()
    except OSError:
        return False


@pytest_twisted.ensureDeferred
async def test_a_missing_command_is_named() -> None:
    """
    Where there is no such command, that is what is said.
    """
    network = WeaveNetwork(cast(CommandReactor, reactor), {"PATH": "/nowhere"})

    health = await network.health()

    assert health.problems == ("weave: there is no such command here",)


@pytest_twisted.ensureDeferred
async def test_detaching_takes_all_addresses(host: WeaveHost) -> None:
    """
    A detached container has no address, whoever attached it; a second detaching does nothing.
    """
    container = host.run()
    await host.new_network().attach(container, (A, B))
    network = host.network

    await network.detach(container.id)
    await network.detach(container.id)

    assert host.addresses(container) == set()
    assert host.asked()[3:] == ["ps", "detach", "ps"]


@pytest_twisted.ensureDeferred
async def test_what_was_attached_by_hand_stays(host: WeaveHost) -> None:
    """
    Keeping only some containers detaches others of ours, and none that somebody else attached.
    """
    network, by_hand = host.network, host.run()
    await host.new_network().attach(by_hand, (IPv4Interface("10.2.3.1/24"),))
    kept, gone = host.run(), host.run()
    await network.attach(kept, (A,))
    await network.attach(gone, (B,))

    await network.keep_only({kept.id})

    assert {kept.id: (A,)} == await network.attachments()
    assert [len(host.addresses(each)) for each in (by_hand, kept, gone)] == [1, 1, 0]


@pytest_twisted.ensureDeferred
async def test_containers_are_known_by_being_kept(host: WeaveHost) -> None:
    """
    A restarted adapter knows the containers again that it is told to keep.
    """
    container = host.run()
    await host.new_network().attach(container, (A,))
    network = host.network

    await network.keep_only({container.id})

    assert {container.id: (A,)} == await network.attachments()


@pytest_twisted.ensureDeferred
async def test_health_tells_of_each_peer(host: WeaveHost) -> None:
    """
    Each connection to a peer is told, and which of them is broken; that to itself is none.
    """
    host.say(
        "connections",
        "<- 192.0.2.7:39316    established fastdp 7a:0c:76:06:37:d8(node2) mtu=1376\n"
        "-> 192.0.2.6:6783     failed      cannot connect to ourself, retry: never\n"
        "-> 192.0.2.8:6783     retrying    dial tcp4: i/o timeout\n"
        "-> 192.0.2.9:6783     connecting  \n",
    )

    health = await host.network.health()

    assert health.driver == "weave"
    assert (
        Peer("192.0.2.7:39316", 0.0),
        Peer("192.0.2.8:6783", None),
        Peer("192.0.2.9:6783", None),
    ) == health.peers
    assert health.problems == (
        "the connection to 192.0.2.8:6783 is retrying: dial tcp4: i/o timeout",
        "the connection to 192.0.2.9:6783 is connecting",
    )


@pytest_twisted.ensureDeferred
async def test_health_tells_what_weave_net_says_against_it(host: WeaveHost) -> None:
    """
    Where Weave Net is stopped there is no peer, and its sentence.
    """
    host.say("router", "stopped")

    health = await host.network.health()

    assert health.peers == ()
    assert health.problems == ("weave status: weave container is not running.",)


@pytest_twisted.ensureDeferred
async def test_the_host_has_an_address_and_gives_it_back(host: WeaveHost) -> None:
    """
    The host is exposed with an address, which is refused where it is held, and hidden again.
    """
    host.use_elsewhere(B)
    network = host.network

    await network.expose(A)
    assert host.own_addresses() == {A}
    with pytest.raises(AddressInUse):
        await network.expose(B)
    await network.hide(A)

    assert host.own_addresses() == set()


@pytest_twisted.ensureDeferred
async def test_a_reset_takes_back_what_was_given(host: WeaveHost) -> None:
    """
    After a reset neither host nor container has an address from here; Weave Net is not asked more.
    """
    network, container = host.network, host.run()
    await network.attach(container, (A,))
    await network.expose(B)

    await network.reset()

    assert (host.own_addresses(), host.addresses(container)) == (set(), set())
    assert {"status", "attach", "expose", "ps", "detach", "hide"} == set(host.asked())
