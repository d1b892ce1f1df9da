"""
The proxy's memory does not grow with what passes through it.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from demo.engine import PrivateEngine, busybox_root
from tests.engine.big_image import padded_archive
from tests.engine.conftest import NO_HOOKS, StartPowerstrip
from tests.engine.noop_adapter import NoopAdapter
from tests.engine.proxy import Proxy

GIB = 1 << 30
SIZE = 2 * GIB
LIMIT_KIB = 32 * 1024
BLOCK = 1 << 20

pytestmark = pytest.mark.slow


@pytest.fixture(params=["plain", "hooked"])
def proxy(
    request: pytest.FixtureRequest, powerstrip: StartPowerstrip, noop_adapter: NoopAdapter
) -> Iterator[Proxy]:
    """
    A powerstrip that has passed nothing yet, without hooks and with two on everything.
    """
    proxy = powerstrip(NO_HOOKS if request.param == "plain" else noop_adapter.on_everything())
    yield proxy
    proxy.stop()


@pytest.fixture
def note(
    record_property: Callable[[str, object], None], request: pytest.FixtureRequest
) -> Callable[[str, int], None]:
    """
    A function that puts a figure in the summary of the test run.
    """
    mode = request.node.callspec.params["proxy"]

    def note(what: str, growth_kib: int) -> None:
        text = f"memory: {what} of 2 GiB, {mode}: peak grew by {growth_kib / 1024:.1f} MiB"
        record_property("figure", text)

    return note


def test_an_upload_is_not_held(proxy: Proxy, note: Callable[[str, int], None]) -> None:
    """
    While ``docker load`` sends 2 GiB, the proxy's peak of memory grows by less than 32 MiB.
    """
    proxy.forget_peak()
    before = proxy.peak_rss_kib()
    with connection(proxy) as client:
        body = padded_archive("padded:latest", busybox_root(), SIZE)
        headers = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        client.request("POST", "/v1.41/images/load", body, headers, encode_chunked=True)
        response = client.getresponse()
        answer = response.read()
    growth = proxy.peak_rss_kib() - before
    note("an upload", growth)

    assert response.status == 200
    assert b"Loaded image: padded:latest" in answer
    assert growth < LIMIT_KIB


def test_a_download_is_not_held(
    proxy: Proxy, engine: PrivateEngine, note: Callable[[str, int], None]
) -> None:
    """
    While ``docker cp`` fetches 2 GiB, the proxy's peak of memory grows by less than 32 MiB.
    """
    proxy.forget_peak()
    before = proxy.peak_rss_kib()
    with connection(proxy) as client, container_with_zeros(engine) as name:
        client.request("GET", f"/v1.41/containers/{name}/archive?path=/zeros")
        response = client.getresponse()
        received = sum(len(piece) for piece in iter(lambda: response.read(BLOCK), b""))
    growth = proxy.peak_rss_kib() - before
    note("a download", growth)

    assert response.status == 200
    assert received > SIZE
    assert growth < LIMIT_KIB


@contextmanager
def connection(proxy: Proxy) -> Iterator[http.client.HTTPConnection]:
    """
    A connection to the proxy.
    """
    client = http.client.HTTPConnection("docker")
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.settimeout(60)
    client.sock.connect(str(proxy.socket))
    yield client
    client.close()


@contextmanager
def container_with_zeros(engine: PrivateEngine) -> Iterator[str]:
    """
    A container with a file of 2 GiB that takes no room on the disk.
    """
    body = b'{"Image": "busybox", "Cmd": ["truncate", "-s", "2G", "/zeros"]}'
    name = "zeros"
    for method, target, content in (
        ("POST", f"/containers/create?name={name}", body),
        ("POST", f"/containers/{name}/start", b""),
        ("POST", f"/containers/{name}/wait", b""),
    ):
        status, answer = engine.request(method, target, content)
        assert status < 300, answer
    yield name
    engine.request("DELETE", f"/containers/{name}?force=1")
