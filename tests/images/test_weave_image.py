"""
The weave adapter's image, and what is done with it as its README says.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import quote

from demo.engine import PrivateEngine
from tests.engine.proxy import Proxy
from tests.images.docker import docker, wait_for

ADAPTER_TESTS = Path(__file__).parent.parent / "adapters" / "weave"
MAKE_NETWORK = (ADAPTER_TESTS / "make_network.py").read_text(encoding="utf-8")
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


def test_the_image_holds_the_adapter_and_the_wait_program(engine: PrivateEngine) -> None:
    """
    It runs the adapter with the options that it is given, and has what waits in containers.
    """
    shown = docker(engine, "run", "--rm", IMAGE, "--help")
    code = "import powerstrip_weave.networks, pathlib; print(*[path.name for path in "
    code += "(pathlib.Path(powerstrip_weave.__file__).parent / 'programs').iterdir()])"
    programs = docker(engine, "run", "--rm", "--entrypoint", "python3", IMAGE, "-c", code)

    assert "--driver" in shown.stdout
    assert programs.stdout == f"wait-for-weave-{MACHINE}\n"


def test_a_container_that_is_the_adapter_gives_addresses(
    engine: PrivateEngine, short_tmp: Path
) -> None:
    """
    Run as its README says, it gives a container of an ordinary user its address; there is nothing
    of the host that the wait program would have to come from.
    """
    sockets = f"type=bind,source={engine.directory},target={engine.directory},bind-nonrecursive"
    adapter = docker(
        engine,
        *("run", "--detach", "--name=weave", *RIGHTS, "--mount", sockets),
        *(f"--volume={short_tmp}:/run/powerstrip", IMAGE, f"--docker={engine.docker_host}"),
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


def test_a_container_can_take_the_network_away(engine: PrivateEngine) -> None:
    """
    Where only the image is at hand, a reset is run from it, as its README says.
    """
    links = ["nsenter", f"--net={engine.namespace}", "ip", "link", "show", "weave-vxlan"]
    rights = ("--net=host", "--cap-add=NET_ADMIN", "--cap-add=SYS_ADMIN")
    made = docker(engine, "run", "--rm", *rights, "--entrypoint=python3", IMAGE, "-c", MAKE_NETWORK)
    assert made.returncode == 0, made.stderr
    subprocess.run(links, check=True)

    program = ("--entrypoint=powerstrip-weave", IMAGE)
    done = docker(engine, "run", "--rm", *rights, *program, "reset")

    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run(links, capture_output=True).returncode == 1


def test_an_adapter_without_rights_says_which_it_needs(engine: PrivateEngine) -> None:
    """
    It ends with a sentence that names the options of docker that are missing.
    """
    done = docker(
        engine, "run", "--rm", "--net=host", IMAGE, "--listen=unix:///run/powerstrip-weave.sock"
    )

    assert done.returncode == 1
    assert (
        "powerstrip-weave: no right to make networks: CAP_NET_ADMIN and CAP_SYS_ADMIN missing "
        "(for a container: --cap-add NET_ADMIN --cap-add SYS_ADMIN)"
    ) in done.stdout
