"""
The command ``powerstrip-weave``, against the adapter where it listens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import frozen
from powerstrip_weave.app import WeaveAdapter
from powerstrip_weave.attachments import Attachments
from powerstrip_weave.cli import main, status_lines
from powerstrip_weave.errors import NetworkError
from powerstrip_weave.interfaces import Peer
from powerstrip_weave.testing import FakeNetwork
from powerstrip_weave.wait_place import HostDirectory
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.threads import deferToThread
from twisted.web.pages import notFound
from twisted.web.server import Site

from powerstrip.adapter.testing import FakeEngine

ADDRESS = IPv4Interface("10.255.0.1/8")
MAKE_NETWORK = Path(__file__).parent / "make_network.py"
COMMAND = Path(sys.executable).parent / "powerstrip-weave"


@frozen
class Outcome:
    """
    How the command ended.
    """

    status: int
    output: str
    sentence: str | None
    """What it ended with, if so."""


class Adapter:
    """
    An adapter that listens on a socket, with an engine and a network in memory.
    """

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.engine = FakeEngine()
        self.network = FakeNetwork()
        self.at = f"unix://{directory}/weave.sock"
        self.attachments = Attachments(self.engine.client, self.network, self.engine.clock)
        place = HostDirectory(self.engine.client, str(directory))
        adapter = WeaveAdapter(self.engine.client, self.network, self.attachments, place)
        unix = cast(IReactorUNIX, reactor)
        site = cast(Any, Site(adapter.app.resource()))
        self.port: IListeningPort = unix.listenUNIX(f"{directory}/weave.sock", site)
        self._capsys = capsys

    async def do(self, *words: str, at: str | None = None) -> Outcome:
        """
        Run the command, which blocks, beside the adapter.
        """

        def run() -> int | str | None:
            try:
                main(["--at", at or self.at, *words])
            except SystemExit as end:
                return end.code
            return 0

        code = await deferToThread(run)
        output = self._capsys.readouterr().out
        if isinstance(code, int):
            return Outcome(code, output, None)
        return Outcome(1, output, code)


@pytest_twisted.async_yield_fixture
async def adapter(short_tmp: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Adapter]:
    """
    An adapter with nothing to do yet.
    """
    adapter = Adapter(short_tmp, capsys)
    yield adapter
    await maybeDeferred(adapter.port.stopListening)


@pytest_twisted.ensureDeferred
async def test_status_shows_containers_and_peers(adapter: Adapter) -> None:
    """
    The status of an adapter that is well is tables of what there is, and the status 0.
    """
    adapter.network.peers = (Peer("192.0.2.7", 0.4), Peer("192.0.2.8", None))
    web = adapter.engine.run("web", "WEAVE_CIDR=10.255.0.10/24,10.2.0.1/16")
    other = adapter.engine.run("other", "WEAVE_CIDR=10.255.0.11/24")
    await adapter.attachments.ensure(web)

    shown = await adapter.do("status")

    assert shown == Outcome(
        0,
        "DRIVER   ENGINE\n"
        "fake     unix:///fake.sock\n"
        "\n"
        "PEER        HEARD\n"
        "192.0.2.7   0 s ago\n"
        "192.0.2.8   never\n"
        "\n"
        "CONTAINER      NAME    ADDRESSES                    ATTACHED\n"
        f"{other[:12]}   other   10.255.0.11/24               no\n"
        f"{web[:12]}   web     10.255.0.10/24 10.2.0.1/16   yes\n"
        "\n",
        None,
    )


@pytest_twisted.ensureDeferred
async def test_status_shows_what_is_wrong(adapter: Adapter) -> None:
    """
    A problem is a line of its own, and makes the command's status 1.
    """
    adapter.network.problems = ("the interface weave is down",)

    shown = await adapter.do("status")

    assert shown.status == 1
    assert shown.output.endswith("\nproblem: the interface weave is down\n")


@pytest_twisted.ensureDeferred
async def test_status_shows_an_engine_that_is_down(adapter: Adapter) -> None:
    """
    Where the engine can't be reached that is a problem, and what is attached is shown all the same.
    """
    web = adapter.engine.run("web", "WEAVE_CIDR=10.255.0.10/24")
    await adapter.attachments.ensure(web)
    adapter.engine.is_up = False

    shown = await adapter.do("status")

    assert shown.status == 1
    assert f"\n{web[:12]}   ?      10.255.0.10/24   yes\n" in shown.output
    assert "\nproblem: the Docker Engine at unix:///fake.sock can't be reached" in shown.output


@pytest_twisted.ensureDeferred
async def test_status_is_json_for_programs(adapter: Adapter) -> None:
    """
    With ``--json`` it is what the adapter says.
    """
    shown = await adapter.do("status", "--json")

    assert shown.status == 0
    assert json.loads(shown.output)["driver"] == "fake"


def test_status_shows_what_was_stopped() -> None:
    """
    A container that could not have its address stays in the tables for a while, with the reason.
    """
    answer = {
        "driver": "vxlan",
        "mtu_bytes": 1450,
        "engine": {"address": "unix:///var/run/docker.sock", "problem": None},
        "containers": [],
        "stopped": [
            {
                "id": "ab" * 32,
                "name": "db",
                "seconds_ago": 61.2,
                "problem": "the address 10.255.0.52 is in use on the network by 3e:1f:00:aa:10:02",
            }
        ],
        "peers": [],
        "problems": [],
    }

    assert status_lines(answer) == [
        "DRIVER            ENGINE",
        "vxlan, MTU 1450   unix:///var/run/docker.sock",
        "",
        "CONTAINER      NAME   STOPPED    BECAUSE",
        (
            "abababababab   db     61 s ago   the address 10.255.0.52 is in use on the network by "
            "3e:1f:00:aa:10:02"
        ),
        "",
    ]


@pytest_twisted.ensureDeferred
async def test_the_host_gets_an_address_and_gives_it_back(adapter: Adapter) -> None:
    """
    What is exposed the host has, until it is hidden.
    """
    assert (await adapter.do("expose", "10.255.0.1/8")).status == 0
    assert adapter.network.exposed == {ADDRESS}

    assert (await adapter.do("hide", "10.255.0.1/8")).status == 0
    assert adapter.network.exposed == set()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("expose", "10.255.0.9/8"),
            "powerstrip-weave: the address 10.255.0.9 is in use on the network by a stranger",
        ),
        (
            ("hide", "10.255.0.1"),
            'powerstrip-weave: "10.255.0.1" has no prefix length such as the 24 of 10.255.0.1/24',
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_refusal_is_told_in_the_adapters_words(
    adapter: Adapter, words: tuple[str, ...], sentence: str
) -> None:
    """
    What the adapter refuses ends the command with its sentence.
    """
    adapter.network.wire.holders[IPv4Interface("10.255.0.9/8").ip] = "a stranger"

    assert await adapter.do(*words) == Outcome(1, "", sentence)


@pytest_twisted.ensureDeferred
async def test_a_network_that_fails_is_told(adapter: Adapter) -> None:
    """
    So does what the network can't do.
    """
    adapter.network.failure = NetworkError("the bridge weave has gone")

    outcome = await adapter.do("expose", "10.255.0.1/8")

    assert outcome.sentence == "powerstrip-weave: the bridge weave has gone"


@pytest_twisted.ensureDeferred
async def test_it_speaks_tcp_too(adapter: Adapter, short_tmp: Path) -> None:
    """
    An adapter on TCP is reached by the address that its ``--listen`` has.
    """
    bridge = subprocess.Popen(
        ["socat", "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1", f"UNIX:{short_tmp}/weave.sock"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert bridge.stderr is not None
    with bridge, closing(bridge.stderr) as said:
        port = said.readline().rpartition(":")[2].strip()

        shown = await adapter.do("status", at=f"tcp://127.0.0.1:{port}")

    assert shown.status == 0


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        (
            "unix:///nowhere",
            (
                "powerstrip-weave: the adapter at unix:///nowhere can't be reached: "
                "No such file or directory"
            ),
        ),
        (
            "tcp://127.0.0.1:1",
            (
                "powerstrip-weave: the adapter at tcp://127.0.0.1:1 can't be reached: "
                "Connection refused"
            ),
        ),
        (
            "systemd:index=0",
            "powerstrip-weave: --at systemd:index=0: must be tcp://HOST:PORT or unix:///PATH",
        ),
    ],
)
def test_an_adapter_that_cant_be_reached_is_named(at: str, sentence: str) -> None:
    """
    Where nothing listens, or nothing can, that is said.
    """
    with pytest.raises(SystemExit) as end:
        main(["status", "--at", at])

    assert end.value.code == sentence


@pytest_twisted.ensureDeferred
async def test_something_else_that_answers_is_not_taken_for_it(
    adapter: Adapter, short_tmp: Path
) -> None:
    """
    Where another program listens, that is said, and no traceback.
    """
    other = cast(IReactorUNIX, reactor).listenUNIX(
        f"{short_tmp}/other.sock", cast(Any, Site(notFound()))
    )
    try:
        outcome = await adapter.do("status", at=f"unix://{short_tmp}/other.sock")
    finally:
        await maybeDeferred(other.stopListening)

    what = f"what answers at unix://{short_tmp}/other.sock is not the adapter"
    assert outcome.sentence == f"powerstrip-weave: {what}"


@pytest_twisted.ensureDeferred
async def test_nothing_is_removed_while_the_adapter_runs(adapter: Adapter) -> None:
    """
    A running adapter is to be stopped before a reset: its containers would lose their network.
    """
    outcome = await adapter.do("reset")

    assert outcome.sentence == (
        f"powerstrip-weave: the adapter runs, at {adapter.at}: stop it first, "
        "since what it has attached would stay cut off"
    )


@pytest.fixture
def namespace() -> Iterator[list[str]]:
    """
    The words that run a command in a network namespace that goes with the test.
    """
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        pytest.skip("needs the right to make network namespaces")
    command = ["unshare", "--net", "sh", "-c", "echo; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        holder.kill()


def interfaces(namespace: list[str]) -> list[str]:
    """
    The names of the interfaces there.
    """
    shown = subprocess.run([*namespace, "ip", "-json", "link"], capture_output=True, check=True)
    return [link["ifname"] for link in json.loads(shown.stdout)]


def test_a_reset_needs_no_adapter(namespace: list[str]) -> None:
    """
    All that the driver has made on a host goes, and nothing else; what is not there can't go.
    """
    subprocess.run([*namespace, "ip", "link", "add", "other", "type", "bridge"], check=True)
    subprocess.run([*namespace, sys.executable, str(MAKE_NETWORK)], check=True)
    assert {"weave", "weave-vxlan"} <= set(interfaces(namespace))
    reset = [*namespace, str(COMMAND), "--at", "unix:///nowhere", "reset"]

    for _ in range(2):
        done = subprocess.run(reset, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")

    assert interfaces(namespace) == ["lo", "other"]


def test_a_reset_without_rights_says_which(namespace: list[str]) -> None:
    """
    Who may not remove networks is told what is missing.
    """
    if os.geteuid() != 0:
        pytest.skip("needs rights to give up")
    drop = ["setpriv", "--bounding-set=-net_admin", str(COMMAND), "--at", "unix:///nowhere"]

    done = subprocess.run([*namespace, *drop, "reset"], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr == (
        "powerstrip-weave: no right to make networks: CAP_NET_ADMIN missing "
        "(for a container: --cap-add NET_ADMIN)\n"
    )
