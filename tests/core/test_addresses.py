"""
Addresses: what the options take, and what is said about the rest.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.addresses import (
    Address,
    EndpointDescription,
    TcpAddress,
    UnixAddress,
    parse_address,
)
from powerstrip.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:///var/run/docker.sock", UnixAddress("/var/run/docker.sock")),
        ("unix:/var/run/docker.sock", UnixAddress("/var/run/docker.sock")),
        ("unix:///with space:and@more", UnixAddress("/with space:and@more")),
        ("tcp://127.0.0.1:2375", TcpAddress("127.0.0.1", 2375)),
        ("TCP://engine.example:1/", TcpAddress("engine.example", 1)),
        ("tcp://my_engine", TcpAddress("my_engine", 2375)),
        ("tcp://:4243", TcpAddress("", 4243)),
        ("tcp://127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
        ("tcp://[::1]:2376", TcpAddress("::1", 2376)),
        ("tcp://[FE80::0:1%eth0]", TcpAddress("fe80::1%eth0", 2375)),
        ("tcp:2375:interface=127.0.0.1", EndpointDescription("tcp:2375:interface=127.0.0.1")),
        ("tcp:2375", EndpointDescription("tcp:2375")),
        ("systemd:domain=INET:index=0", EndpointDescription("systemd:domain=INET:index=0")),
        ("ssl:2376:privateKey=k.pem", EndpointDescription("ssl:2376:privateKey=k.pem")),
        ("tls:engine:2376", EndpointDescription("tls:engine:2376")),
        ("unix:/run/x.sock:mode=600", EndpointDescription("unix:/run/x.sock:mode=600")),
    ],
)
def test_an_address_is_read(text: str, expected: Address) -> None:
    """
    In Docker's forms, and in Twisted's.
    """
    assert parse_address(text, "--listen") == expected


@pytest.mark.parametrize(
    "text",
    [
        "unix:///var/run/docker.sock",
        "tcp://127.0.0.1:2375",
        "tcp://[::1]:2375",
        "tcp://:2375",
        "tcp:2375:interface=::1",
    ],
)
def test_an_address_shows_as_it_is_written(text: str) -> None:
    """
    So the log can name where Powerstrip listens.
    """
    assert str(parse_address(text, "--listen")) == text


FORMS = "write unix:///PATH, tcp://HOST:PORT or a Twisted endpoint description"
TLS = "TLS is written as a Twisted endpoint description: tls:HOST:PORT or ssl:PORT:…"
NPIPE = "named pipes are of Windows; write unix:///PATH or tcp://HOST:PORT"
SSH = "there is no SSH client here; forward the socket with ssh -L and name that"
ABSOLUTE = "the path of a socket must be absolute, as in unix:///run/powerstrip.sock"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", f'"": {FORMS}'),
        ("2375", f'"2375": {FORMS}'),
        ("localhost:2375", f'"localhost:2375": {FORMS}'),
        ("127.0.0.1:2375", f'"127.0.0.1:2375": {FORMS}'),
        ("[::1]:2375", f'"[::1]:2375": {FORMS}'),
        ("/run/x.sock", '"/run/x.sock": a socket is written unix:///PATH'),
        ("unix://run/x.sock", f'"unix://run/x.sock": {ABSOLUTE}'),
        ("unix://", f'"unix://": {ABSOLUTE}'),
        ("unix:x.sock", f'"unix:x.sock": {ABSOLUTE}'),
        ("unix:///\0", r'"unix:///\x00": the path of a socket has 107 bytes at most'),
        (
            f"unix:///{'é' * 54}",
            f'"unix:///{"é" * 54}": the path of a socket has 107 bytes at most',
        ),
        (
            "fd://",
            '"fd://": a socket that systemd has opened is written systemd:domain=UNIX:index=0',
        ),
        (
            "npipe:////./pipe/docker_engine",
            f'"npipe:////./pipe/docker_engine": {NPIPE}',
        ),
        (
            "ssh://me@host",
            f'"ssh://***@host": {SSH}',
        ),
        ("http://host:2375", '"http://host:2375": write tcp://HOST:PORT'),
        ("https://host:2376", f'"https://host:2376": {TLS}'),
        ("tls://host:2376", f'"tls://host:2376": {TLS}'),
        ("quic://host", f'"quic://host": quic:// is not known; {FORMS}'),
        (
            "tcp://host:docker",
            '"tcp://host:docker": the port "docker" is not a number from 0 to 65535',
        ),
        (
            "tcp://host:65536",
            '"tcp://host:65536": the port "65536" is not a number from 0 to 65535',
        ),
        ("tcp://host:", '"tcp://host:": the port "" is not a number from 0 to 65535'),
        (
            "tcp://host:1/path",
            '"tcp://host:1/path": the port "1/path" is not a number from 0 to 65535',
        ),
        (
            "tcp://host/path",
            '"tcp://host/path": the host "host/path" is neither a name nor an address',
        ),
        (
            "tcp://me:secret@host:1",
            '"tcp://***@host:1": an address can\'t hold a user name or a password',
        ),
        (
            "tcp://::1:2375",
            '"tcp://::1:2375": an IPv6 address stands in brackets, as in tcp://[::1]:2375',
        ),
        ("tcp://[::x]:2375", '"tcp://[::x]:2375": "::x" is not an IPv6 address'),
    ],
)
def test_another_address_is_refused(text: str, problem: str) -> None:
    """
    With one sentence that names the option, and never a password.
    """
    with pytest.raises(ConfigError) as caught:
        parse_address(text, "--docker")
    assert caught.value.problems == (f"--docker {problem}",)


PIECES = ["unix:", "tcp:", "//", "/", ":", "[", "]", "::1", "1", "h", "@", "%", "fd:"]


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        ("ip6-localhost", True),
        ("::1", True),
        ("", False),
        ("0.0.0.0", False),
        ("10.127.0.1", False),
        ("::", False),
        ("fe80::1", False),
        ("localhost.example", False),
    ],
)
def test_only_a_loopback_keeps_others_out(host: str, is_loopback: bool) -> None:
    """
    All other addresses are reached from elsewhere.
    """
    assert TcpAddress(host, 2375).is_loopback == is_loopback


HERE = ["127.0.0.1", "localhost", "LocalHost", "::1", "", "0.0.0.0", "::"]


@pytest.mark.parametrize("other", HERE)
@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_one_place_by_all_its_names(host: str, other: str) -> None:
    """
    On one port.
    """
    assert TcpAddress(host, 2375).may_be(TcpAddress(other, 2375))
    assert not TcpAddress(host, 2375).may_be(TcpAddress(other, 2376))


@pytest.mark.parametrize(
    ("host", "other", "is_one"),
    [
        ("engine", "Engine", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "localhost", False),
        ("engine", "", False),
    ],
)
def test_other_machines_are_told_apart(host: str, other: str, is_one: bool) -> None:
    """
    By their names, in which case does not count.
    """
    assert TcpAddress(host, 2375).may_be(TcpAddress(other, 2375)) == is_one


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=2), max_size=8).map("".join))
def test_any_text_is_an_address_or_not(text: str) -> None:
    """
    Nothing but a ConfigError comes of a text that is none, and what is read reads the same again.
    """
    try:
        address = parse_address(text, "--listen")
    except ConfigError:
        return
    assert parse_address(str(address), "--listen") == address
