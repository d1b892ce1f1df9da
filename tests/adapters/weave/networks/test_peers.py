"""
The list of peers.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

import pytest
from powerstrip_weave.errors import NetworkError
from powerstrip_weave.networks.peers import PeerList

ONE, TWO = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def test_peers_come_from_both_places(tmp_path: Path) -> None:
    """
    From the command line and from the file, where comments and empty lines say nothing.
    """
    file = tmp_path / "peers"
    file.write_text("# the nodes\n\n 192.0.2.2 # node2\n192.0.2.1\n")
    assert {ONE, TWO} == PeerList(["192.0.2.1"], file).read()


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    """
    With its file and number.
    """
    file = tmp_path / "peers"
    file.write_text("192.0.2.1\n192.0.2.2/24\n")
    with pytest.raises(NetworkError, match=rf"{file}, line 2: '192\.0\.2\.2/24' is not an IP"):
        PeerList(file=file).read()


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """
    One that isn't there, and one that isn't text.
    """
    file = tmp_path / "peers"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NetworkError, match=f"can't be read from {file}"):
        PeerList(file=file).read()


def test_a_wrong_peer_is_named() -> None:
    """
    At once, as it is on the command line.
    """
    with pytest.raises(NetworkError, match="the peer 'node2' is not an IP address"):
        PeerList(["node2"])


def test_peers_are_of_one_version_of_ip() -> None:
    """
    A tunnel can have no others.
    """
    with pytest.raises(NetworkError, match="IPv6"):
        PeerList(["192.0.2.1", "2001:db8::1"]).read()


def test_a_change_shows(tmp_path: Path) -> None:
    """
    Of the content, also where the time stays the same, and when the file goes.
    """
    file = tmp_path / "peers"
    peers = PeerList(file=file)
    states = [peers.state()]
    file.write_text("192.0.2.1")
    states.append(peers.state())
    assert states[-1] == peers.state()
    moment = file.stat().st_mtime_ns
    file.write_text("192.0.2.1\n192.0.2.2")
    os.utime(file, ns=(moment, moment))
    states.append(peers.state())
    file.unlink()
    assert states[0] == peers.state()
    assert len(states) == len(set(states))
