"""
The demo's images, on a real engine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.engine import PrivateEngine, why_not
from demo.images import IMAGES, REDIS_PROGRAMS, changes, import_images

ROOT = Path(__file__).parents[2]
ENGINES = Path("/tmp/powerstrip-tests")
"""Not below pytest's own directory: a socket's path has 107 characters at most."""

REDIS, SERVER = IMAGES["redis"], IMAGES["server"]
BUILT_SERVER = "built-server"

NO_REDIS = not all(shutil.which(program) for program in REDIS_PROGRAMS.values())

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(NO_REDIS, reason="not installed: Redis (scripts/install-redis installs it)"),
]


class Docker:
    """
    The docker client before one engine. All containers share one network, so nobody needs weave.
    """

    def __init__(self, engine: PrivateEngine) -> None:
        self.engine = engine
        self._names = 0

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, "DOCKER_HOST": self.engine.docker_host, "DOCKER_BUILDKIT": "0"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
        return done.stdout

    def run(self, *words: str) -> str:
        """
        Start a container, and give its name.
        """
        self._names += 1
        name = f"container-{self._names}"
        self("run", "--detach", "--name", name, *words)
        return name

    def exit_status(self, name: str) -> int:
        return int(self("inspect", "--format", "{{.State.ExitCode}}", name))


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """
    An engine with the images, and with the server as a ``docker build`` makes it.
    """
    with PrivateEngine(ENGINES, f"images-{os.getpid()}") as engine:
        import_images(engine)
        engine.import_busybox()
        docker = Docker(engine)
        docker("build", "--quiet", "--tag", BUILT_SERVER, str(ROOT / "demo/images/server"))
        yield docker


@pytest.fixture(params=[SERVER, BUILT_SERVER])
def server_image(request: pytest.FixtureRequest) -> str:
    """
    The server's image, made either way.
    """
    image: str = request.param
    return image


@pytest.fixture
def database(docker: Docker, tmp_path: Path) -> Iterator[str]:
    """
    A database that answers, whose data are in ``tmp_path``.
    """
    name = docker.run("--volume", f"{tmp_path}:/data", REDIS)
    wait_for_database(docker, name)
    yield name
    docker("rm", "--force", name)


@pytest.fixture
def server(docker: Docker, server_image: str, database: str) -> Iterator[str]:
    """
    A web server beside the database.
    """
    name = docker.run(
        "--network", f"container:{database}", "-e", "DATABASE=127.0.0.1", server_image
    )
    yield name
    docker("rm", "--force", name)


def wait_for_database(docker: Docker, name: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            docker("exec", name, "redis-cli", "PING")
        except AssertionError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(docker("logs", name))


def ask(docker: Docker, server: str) -> str:
    """
    The status line and the page of a web server, asked in its own container.
    """
    return docker(
        *("exec", server, "sh", "-c"),
        r"printf 'GET / HTTP/1.0\r\n\r\n' | nc 127.0.0.1 80 | tr -d '\r' | sed -n '1p; $p'",
    )


def test_answered_write_survives_the_database(docker: Docker, database: str) -> None:
    """
    What was answered is on the disk: the database is killed at once, and has it when it is back.
    """
    assert docker("exec", database, "redis-cli", "INCRBY", "visits", "41") == "41\n"
    docker("kill", database)
    docker("start", database)
    wait_for_database(docker, database)

    assert docker("exec", database, "redis-cli", "INCR", "visits") == "42\n"


def test_database_ends_by_sigterm(docker: Docker, database: str) -> None:
    """
    It ends by itself when it is told to, and docker does not have to kill it.
    """
    docker("stop", "--time", "30", database)

    assert docker.exit_status(database) == 0


def test_each_page_is_counted(docker: Docker, server: str) -> None:
    """
    The page says the number of the visit, and who has counted it.
    """
    expected = [
        f"HTTP/1.1 200 OK\nvisit {number}, counted by the database at 127.0.0.1\n"
        for number in (1, 2, 3)
    ]
    assert expected == [ask(docker, server) for _ in range(3)]


def test_page_without_a_database_says_so(docker: Docker, server: str, database: str) -> None:
    """
    A visit that was not counted has no number, and a status that is no success.
    """
    docker("stop", database)
    expected = "HTTP/1.1 503 Service Unavailable\nthe database at 127.0.0.1 does not answer\n"

    assert expected == ask(docker, server)


def test_database_that_is_silent_is_not_waited_for(
    docker: Docker, server: str, database: str
) -> None:
    """
    The page comes within a second where the database has stopped, as a lost host would have.
    """
    docker("pause", database)
    before = time.monotonic()
    page = ask(docker, server)
    seconds = time.monotonic() - before
    docker("unpause", database)

    assert page.startswith("HTTP/1.1 503 ")
    assert seconds < 1


def test_visitor_notes_when_each_visit_was_counted(
    docker: Docker, server: str, database: str, server_image: str
) -> None:
    """
    Its notes have the machine's time since it started, and numbers that go up.
    """
    network = f"container:{database}"
    visitor = docker.run("--network", network, server_image, "visit", "http://127.0.0.1/")
    time.sleep(1)
    docker("stop", "--time", "30", visitor)
    notes = re.findall(r"^([0-9.]+) ([0-9]+)$", docker("logs", visitor), re.MULTILINE)

    assert len(notes) >= 5
    times = [float(seconds) for seconds, _ in notes]
    numbers = [int(number) for _, number in notes]
    assert times == sorted(times)
    assert numbers == sorted(set(numbers))
    now = float(Path("/proc/uptime").read_text().split()[0])
    assert now - 30 < times[-1] < now


def test_server_ends_by_sigterm(docker: Docker, server: str) -> None:
    """
    It ends by itself when it is told to, and docker does not have to kill it.
    """
    docker("stop", "--time", "30", server)

    assert docker.exit_status(server) != 137  # 128 and SIGKILL


@pytest.mark.parametrize("name", ["redis", "server"])
def test_imported_image_runs_what_the_dockerfile_says(docker: Docker, name: str) -> None:
    """
    The command in the Dockerfile is the imported image's.
    """
    (command,) = (change for change in changes(name) if change.startswith("CMD "))
    config = json.loads(docker("inspect", "--format", "{{json .Config}}", IMAGES[name]))

    assert json.loads(command.removeprefix("CMD ")) == config["Cmd"]


def test_images_are_small(docker: Docker) -> None:
    """
    The server is below 3 MB, and the database below 30 MB.
    """
    redis, server = (
        int(docker("inspect", "--format", "{{.Size}}", image)) for image in (REDIS, SERVER)
    )
    assert server < 3_000_000
    assert redis < 30_000_000
