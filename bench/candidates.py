"""
The proxies that are compared, each as it is used in front of an engine.

I/O: writes their configurations, and asks them for their versions.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

NO_HOOKS = "version: 1\nendpoints: {}\nadapters: {}\n"

SPARE_DESCRIPTORS = 200
"""What a proxy may need beside two for each connection."""


@frozen
class Place:
    """
    Where a proxy stands.
    """

    directory: Path
    """Its own."""

    port: str
    """Where it listens, at 127.0.0.1."""

    engine: Path
    """The UNIX socket that it passes requests to."""

    engine_port: str | None
    """The same engine at 127.0.0.1, for what knows no UNIX sockets."""


@frozen
class Candidate:
    """
    A proxy, or none.
    """

    name: str
    title: str
    command: Callable[[Place], list[str]] | None
    """What starts it; None for the engine itself, with no proxy."""

    version_command: tuple[str, ...] = ()
    forks: bool = False
    """Whether it has a process for each connection."""

    workers: int = 1
    """How many processes serve; more than one get all CPUs, and are measured if asked for."""

    idle_limit: int | None = None
    """How many idle streams it is asked to hold, if not all."""

    def why_not(self) -> str | None:
        """
        The reason why it can't be run, or None where it can.
        """
        if self.version_command and shutil.which(self.version_command[0]) is None:
            return f"{self.title} is not installed"
        return None

    def version(self) -> str:
        """
        Its version as it says it.
        """
        if not self.version_command:
            return ""
        done = subprocess.run(self.version_command, capture_output=True, text=True)
        found = re.search(r"\d+\.\d+[.\w+-]*", done.stdout)
        return found[0] if found else ""


def most_connections() -> int:
    """
    How many connections a proxy can hold, which has a descriptor on either side of each.
    """
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS) // 2


def powerstrip(place: Place, config: str = NO_HOOKS) -> list[str]:
    file = place.directory / "adapters.yml"
    file.write_text(config)
    twistd = Path(sys.executable).with_name("twistd")
    options = ["--config", str(file), "--docker", f"unix://{place.engine}"]
    listen = f"tcp://127.0.0.1:{place.port}"
    return [str(twistd), "-n", "--pidfile=", "powerstrip", *options, "--listen", listen]


def two_workers(place: Place) -> list[str]:
    return [*powerstrip(place), "--workers", "2"]


def haproxy(place: Place) -> list[str]:
    """
    As ``haproxy.cfg`` of Tecnativa's docker-socket-proxy has it.

    Its time-outs are raised, so that nothing is cut, and its list of allowed paths is left out,
    which would only make it slower.
    """
    file = place.directory / "haproxy.cfg"
    file.write_text(f"""\
global
    log stdout format raw daemon info
    maxconn {most_connections()}
    nbthread 1
defaults
    mode http
    log global
    option httplog
    option dontlognull
    option http-server-close
    option redispatch
    retries 3
    timeout http-request 1h
    timeout queue 1h
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    timeout check 10s
    maxconn {most_connections()}
backend dockerbackend
    server dockersocket unix@{place.engine}
frontend dockerfrontend
    bind 127.0.0.1:{place.port}
    default_backend dockerbackend
""")
    return ["haproxy", "-db", "-f", str(file)]


def socat(place: Place) -> list[str]:
    listen = f"TCP-LISTEN:{place.port},bind=127.0.0.1,fork,reuseaddr,backlog=128,nodelay"
    return ["socat", listen, f"UNIX-CONNECT:{place.engine}"]


def mitmproxy(place: Place) -> list[str]:
    return [
        mitmdump(),
        f"--mode=reverse:http://127.0.0.1:{place.engine_port}",
        "--listen-host=127.0.0.1",
        f"--listen-port={place.port}",
        f"--set=confdir={place.directory}",
    ]


def mitmdump() -> str:
    """
    The program of mitmproxy, in a virtual environment of its own: its requirements are strict.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return str(Path(cache) / "powerstrip" / "mitmproxy" / "bin" / "mitmdump")


CANDIDATES = (
    Candidate("powerstrip", "Powerstrip", powerstrip),
    Candidate("powerstrip-2", "Powerstrip, 2 workers", two_workers, workers=2),
    # HAProxy keeps the head of a stream back for 200 ms, to send more with it: ten thousand of them
    # would take a minute. It has ``option http-no-delay`` against that, which is not set there.
    Candidate("haproxy", "HAProxy", haproxy, ("haproxy", "-v"), idle_limit=1000),
    Candidate("socat", "socat", socat, ("socat", "-V"), forks=True, idle_limit=500),
    Candidate("mitmproxy", "mitmproxy", mitmproxy, (mitmdump(), "--version")),
    Candidate("direct", "direct", None),
    Candidate("treq", "treq", None),
)
