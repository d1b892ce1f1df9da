"""
The adapter's image: built with no registry, no index and no archive in the engine's reach.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import pytest

from demo.engine import PrivateEngine, why_not
from tests.engine.proxy import Proxy

SCRIPT = Path(__file__).parent.parent.parent.parent / "scripts" / "adapter-image"
MAKE_NETWORK = (Path(__file__).parent / "make_network.py").read_text(encoding="utf-8")
IMAGE = "powerstrip-weave"
MACHINE = os.uname().machine
RIGHTS = ("--net=host", "--pid=host", "--cap-add=NET_ADMIN", "--cap-add=SYS_ADMIN")
RIGHTS += ("--cap-add=SYS_PTRACE",)

CONFIG = """\
version: 1
endpoints:
  "POST /*/containers/create":
    pre: [weave]
  "POST /*/containers/*/start":
    post: [weave]
adapters:
  weave: http+unix://{socket}/extension
"""

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    """
    An engine that knows busybox and nothing else.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with PrivateEngine(Path("/tmp/powerstrip-tests"), f"tests-{os.getpid()}-image") as engine:
        engine.import_busybox()
        yield engine


@pytest.fixture(scope="module")
def image(engine: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """
    The image, as the script builds it.
    """
    # The distribution's client, as it is in the other tests; no other program of its directory.
    client = shutil.which("docker", path=f"/usr/bin:{os.environ['PATH']}")
    assert client is not None
    first = tmp_path_factory.mktemp("bin")
    (first / "docker").symlink_to(client)
    environment = {
        **os.environ,
        "PATH": f"{first}:{os.environ['PATH']}",
        "DOCKER_HOST": engine.docker_host,
    }
    done = subprocess.run(
        [str(SCRIPT), "weave", IMAGE], env=environment, capture_output=True, text=True
    )
    if "apt knows no archive of Debian" in done.stderr:
        pytest.skip("no base image: neither a registry nor an archive of Debian answers")
    assert done.returncode == 0, done.stderr
    return IMAGE


class HasSocket(Protocol):
    """
    An engine, or a powerstrip in front of one.
    """

    @property
    def docker_host(self) -> str: ...


def wait_for(holds: Callable[[], bool], explanation: Callable[[], str]) -> None:
    """
    Wait until something holds, or fail with an explanation.
    """
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, explanation()
        time.sleep(0.05)


def docker(engine: HasSocket, *arguments: str) -> subprocess.CompletedProcess[str]:
    """
    Run the docker client.
    """
    client = shutil.which("docker", path=f"/usr/bin:{os.environ['PATH']}")
    command = [str(client), "--host", engine.docker_host, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_image_holds_the_adapter_and_the_wait_program(
    engine: PrivateEngine, image: str
) -> None:
    """
    It runs the adapter with the options that it is given, and has what waits in containers.
    """
    shown = docker(engine, "run", "--rm", image, "--help")
    code = "import powerstrip_weave.networks, pathlib; print(*[path.name for path in "
    code += "(pathlib.Path(powerstrip_weave.__file__).parent / 'programs').iterdir()])"
    programs = docker(engine, "run", "--rm", "--entrypoint", "python3", image, "-c", code)

    assert "--driver" in shown.stdout
    assert programs.stdout == f"wait-for-weave-{MACHINE}\n"


def test_the_image_has_no_compiler_and_no_pip(engine: PrivateEngine, image: str) -> None:
    """
    What only builds it is left behind in the first stage.
    """
    script = "for each in gcc make pip; do command -v $each; done"

    found = docker(engine, "run", "--rm", "--entrypoint", "sh", image, "-c", script)

    assert found.stdout == ""


def test_a_container_that_is_the_adapter_gives_addresses(
    engine: PrivateEngine, image: str, short_tmp: Path
) -> None:
    """
    Run as its README says, it gives a container of an ordinary user its address; there is nothing
    of the host that the wait program would have to come from.
    """
    sockets = f"type=bind,source={engine.directory},target={engine.directory},bind-nonrecursive"
    adapter = docker(
        engine,
        *("run", "--detach", "--name=weave", *RIGHTS, "--mount", sockets),
        *(f"--volume={short_tmp}:/run/powerstrip", image, f"--docker={engine.docker_host}"),
        *("--listen=unix:///run/powerstrip/weave.sock", "--wait-container=weave-wait"),
    )
    assert adapter.returncode == 0, adapter.stderr
    socket = short_tmp / "weave.sock"
    wait_for(socket.exists, lambda: docker(engine, "logs", "weave").stdout)
    config = CONFIG.format(socket=quote(str(socket), safe=""))
    directory = short_tmp / "proxy"
    directory.mkdir()

    proxy = Proxy(directory, engine.docker_host, config)
    try:
        shown = docker(
            proxy,
            *("run", "--rm", "--user=1000", "--env=WEAVE_CIDR=10.255.0.51/8", "busybox"),
            *("ip", "-oneline", "-4", "address", "show", "dev", "ethwe"),
        )
        status = docker(
            engine,
            "exec",
            "weave",
            *("powerstrip-weave", "--at=unix:///run/powerstrip/weave.sock", "status"),
        )
    finally:
        proxy.stop()
        docker(engine, "rm", "--force", "weave")

    assert " inet 10.255.0.51/8 " in shown.stdout, shown.stderr
    assert status.returncode == 0
    assert status.stdout.startswith("DRIVER")


def test_a_container_can_take_the_network_away(engine: PrivateEngine, image: str) -> None:
    """
    Where only the image is at hand, a reset is run from it, as its README says.
    """
    links = ["nsenter", f"--net={engine.namespace}", "ip", "link", "show", "weave-vxlan"]
    rights = ("--net=host", "--cap-add=NET_ADMIN", "--cap-add=SYS_ADMIN")
    made = docker(engine, "run", "--rm", *rights, "--entrypoint=python3", image, "-c", MAKE_NETWORK)
    assert made.returncode == 0, made.stderr
    subprocess.run(links, check=True)

    program = ("--entrypoint=powerstrip-weave", image)
    done = docker(engine, "run", "--rm", *rights, *program, "reset")

    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run(links, capture_output=True).returncode == 1


def test_an_adapter_without_rights_says_which_it_needs(engine: PrivateEngine, image: str) -> None:
    """
    It ends with a sentence that names the options of docker that are missing.
    """
    done = docker(
        engine, "run", "--rm", "--net=host", image, "--listen=unix:///run/powerstrip-weave.sock"
    )

    assert done.returncode == 1
    assert (
        "powerstrip-weave: no right to make networks: CAP_NET_ADMIN and CAP_SYS_ADMIN missing "
        "(for a container: --cap-add NET_ADMIN --cap-add SYS_ADMIN)"
    ) in done.stdout


def test_the_script_names_what_it_can_build() -> None:
    """
    An adapter that there isn't is named in a sentence.
    """
    done = subprocess.run([str(SCRIPT), "nonesuch"], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr == "adapter-image: there is no adapters/nonesuch/Dockerfile\n"
