"""
What Vagrant's scripts and systemd's units make of a Debian machine, which is master and node at
once: set up by the scripts, booted with its own systemd, and cut off from the power.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.engine import busybox_root, why_not
from tests.demo.machine import SOURCE, Machine, wait_for

MASTER = "192.0.2.250"
NODE = "192.0.2.251"
ROLES = {
    "master": {"NAME": "master", "ADDRESS": MASTER},
    "node": {"NAME": "node1", "ADDRESS": NODE, "STORAGE": "disk"},
}
NODES = f"node1={NODE} node2=192.0.2.252"

UNITS = ("powerstrip", "powerstrip-weave", "powerstrip-flocker", "docker", "etcd")

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(
        "btrfs" not in Path("/proc/filesystems").read_text(), reason="this kernel has no btrfs"
    ),
]


def settings(role: str) -> dict[str, str]:
    """
    What the Vagrantfile tells the scripts.
    """
    return {"MASTER": MASTER, "NODES": NODES, **ROLES[role]}


def script(name: str) -> list[str]:
    return ["sh", f"/vagrant/demo/vagrant/{name}.sh"]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """
    A machine that was set up and is on, and never again in a state that another test could not use.
    """
    done = subprocess.run([str(SOURCE / "scripts" / "debian-root")], capture_output=True, text=True)
    if "apt knows no archive of Debian" in done.stderr:
        pytest.skip("no archive of Debian is known here")
    assert done.returncode == 0, done.stderr
    name = f"powerstrip-tests-{os.getpid()}-machine"
    directory = Path("/tmp/powerstrip-tests") / name
    directory.mkdir(parents=True)
    machine = Machine(directory / "root", name, (f"{MASTER}/24", f"{NODE}/24"))
    try:
        machine.unpack(Path(done.stdout.strip()))
        for part in ("docker", "storage", "powerstrip"):
            machine.set_up(script(part), settings("node"))
        machine.set_up(script("etcd"), settings("master"))
        machine.boot()
        succeed(machine, *script("master"), role="master")
        succeed(machine, *script("node"), role="node")
        # What registries have comes from this machine here.
        assert machine.run("docker", "import", "-", "busybox", given=busybox_root()).returncode == 0
        yield machine
    finally:
        machine.remove()
        (directory / "console").unlink(missing_ok=True)
        directory.rmdir()


def succeed(machine: Machine, *command: str, role: str | None = None) -> str:
    """
    What a command prints in the machine.
    """
    done = machine.run(*command, environment=None if role is None else settings(role))
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def states(machine: Machine) -> list[str]:
    return machine.run("systemctl", "is-active", *UNITS).stdout.split()


def why_units_fail(machine: Machine) -> str:
    return machine.run("journalctl", "--no-pager", "--lines=60").stdout


def test_all_services_run(machine: Machine) -> None:
    """
    They run and start with the machine, and nothing on it has failed.
    """
    assert ["active"] * len(UNITS) == states(machine)
    enabled = succeed(machine, "systemctl", "is-enabled", *UNITS)
    assert ["enabled"] * len(UNITS) == enabled.split()
    assert succeed(machine, "systemctl", "list-units", "--failed", "--no-legend") == ""


def test_systemd_finds_no_fault_in_the_units(machine: Machine) -> None:
    """
    All they say is known, what they run is there, and they wait for each other in no circle.
    """
    ours = sorted((SOURCE / "contrib" / "systemd").glob("*.service"))

    done = machine.run("systemd-analyze", "verify", *(unit.name for unit in ours), "docker.socket")

    assert len(ours) == 3
    assert (done.returncode, done.stderr) == (0, "")


def test_twistd_has_all_three_services(machine: Machine) -> None:
    """
    One virtual environment has Powerstrip and both adapters.
    """
    shown = succeed(machine, "/opt/powerstrip/bin/twistd", "--help")

    assert {"powerstrip", "powerstrip-weave", "powerstrip-flocker"} <= set(
        re.findall(r"^    (powerstrip\S*) ", shown, re.MULTILINE)
    )


def test_no_pool_of_zfs_is_made_where_its_module_cannot_be_built(machine: Machine) -> None:
    """
    Without headers of the kernel, as on the machine of these tests, it is btrfs that is mounted.
    """
    kernel = os.uname().release
    if succeed(machine, "apt-cache", "search", "--names-only", f"^linux-headers-{kernel}$"):
        pytest.skip("there are headers of this machine's kernel")

    assert succeed(machine, "cat", "/etc/powerstrip/storage") == "btrfs:/var/lib/flocker\n"
    mounted = succeed(machine, "findmnt", "--noheadings", "--output=FSTYPE", "/var/lib/flocker")
    assert mounted == "btrfs\n"


def test_clients_of_the_usual_socket_speak_to_powerstrip(machine: Machine) -> None:
    """
    A plain docker command gets a container its address and its volume.
    """
    shown = succeed(
        machine,
        *("docker", "run", "--rm", "--env=WEAVE_CIDR=10.255.0.50/24", "--volume=/flocker/a:/data"),
        *("busybox", "sh", "-c", "ip -o -4 a show dev ethwe; echo hello >/data/file"),
    )

    assert " inet 10.255.0.50/24 " in shown
    assert succeed(machine, "cat", "/var/lib/flocker/a/file") == "hello\n"


def test_the_network_between_the_machines_reaches_powerstrip(machine: Machine) -> None:
    """
    The master's clients find the node with its label where run.sh is told that it is.
    """
    told = succeed(machine, "sh", "-c", '. /etc/powerstrip/demo; echo "$POWERSTRIP_NODES"')
    node1, node2 = (node.split("=", 1) for node in told.split())

    labels = succeed(machine, "docker", "--host", node1[1], "info", "--format={{json .Labels}}")

    assert [node1[0], node2[0]] == ["node1", "node2"]
    assert json.loads(labels) == ["storage=disk"]
    assert f"{NODE}\n192.0.2.252\n" == succeed(machine, "cat", "/etc/powerstrip/peers")


def test_the_engines_socket_is_for_the_group_docker(machine: Machine) -> None:
    """
    Powerstrip's socket, in its place, has the same group and mode as the engine's.
    """
    shown = succeed(machine, "stat", "--format=%G %a", "/run/docker.sock", "/run/docker.real.sock")

    assert shown.splitlines() == ["docker 660", "docker 660"]


def test_a_restarted_adapter_leaves_the_engine_alone(machine: Machine) -> None:
    """
    The engine waits for the flocker adapter when it starts, and does not end with it.
    """
    ask = ("systemctl", "show", "--property=MainPID", "docker")
    engine = succeed(machine, *ask)

    succeed(machine, "systemctl", "restart", "powerstrip-flocker", "powerstrip-weave", "powerstrip")

    assert engine == succeed(machine, *ask)


def test_scripts_can_be_run_again(machine: Machine) -> None:
    """
    They keep what is there: a pool, datasets, and the CA that other nodes know.
    """
    keys = ("cat", "/etc/powerstrip/peer/key.pem", "/etc/powerstrip/keys/node2/key.pem")
    before = succeed(machine, *keys)

    succeed(machine, *script("storage"), role="node")
    succeed(machine, *script("master"), role="master")
    succeed(machine, *script("node"), role="node")

    assert before == succeed(machine, *keys)
    assert ["active"] * len(UNITS) == states(machine)


def test_powerstrip_can_be_beside_the_engine(machine: Machine) -> None:
    """
    With the settings as they come, and without the drop-in of the engine's socket, the engine is
    where it was, and Powerstrip has a socket of its own.
    """
    given = (SOURCE / "contrib/systemd/powerstrip.default").read_text(encoding="utf-8")
    for name, value in re.findall(r"^(ENGINE|POWERSTRIP_OPTIONS)=(.*)$", given, re.MULTILINE):
        change = f"s|^{name}=.*|{name}={value}|"
        succeed(machine, "sed", "--in-place", change, "/etc/default/powerstrip")
    succeed(machine, "rm", "/etc/systemd/system/docker.socket.d/powerstrip.conf")
    succeed(machine, "systemctl", "daemon-reload")
    succeed(machine, "systemctl", "stop", "powerstrip")
    adapters = ("powerstrip-flocker", "powerstrip-weave")
    succeed(machine, "systemctl", "restart", "docker.socket", "docker.service", *adapters)
    succeed(machine, "systemctl", "start", "powerstrip")

    def hooked(socket: str) -> bool:
        container = ("--env=WEAVE_CIDR=10.255.0.52/24", "busybox", "ls", "/sys/class/net")
        command = ("docker", "--host", f"unix://{socket}", "run", "--rm", *container)
        return "ethwe" in machine.run(*command).stdout

    assert hooked("/run/powerstrip/docker.sock")
    assert not hooked("/run/docker.sock")
    succeed(machine, *script("node"), role="node")
    assert hooked("/run/docker.sock")


def test_without_a_registry_there_is_no_swarm_and_no_failure(machine: Machine) -> None:
    """
    The scripts that need one say a sentence, and the machine is set up all the same.
    """
    swarm = machine.run(*script("swarm"), environment=settings("master"))
    images = machine.run(*script("images"), environment=settings("node"))

    assert (swarm.returncode, images.returncode) == (0, 0)
    assert "run.sh chooses nodes by their labels, without Swarm" in swarm.stderr
    assert "run.sh build makes the images later" in images.stderr
    assert "DOCKER_HOST" not in succeed(machine, "cat", "/etc/powerstrip/demo")


def test_containers_are_back_after_a_reboot_and_only_with_their_data(machine: Machine) -> None:
    """
    Until etcd says that a dataset is here, the engine does not start what would write to it; then
    it does, by itself.
    """
    succeed(
        machine,
        *("docker", "run", "--detach", "--name=kept", "--restart=always"),
        *("--env=WEAVE_CIDR=10.255.0.51/24", "--volume=/flocker/kept:/data", "busybox"),
        *("sh", "-c", "echo started >>/data/starts; sync; exec sleep 1000"),
    )
    succeed(machine, "systemctl", "disable", "etcd")
    ask = ("docker", "exec", "kept", "sh", "-c", "cat /data/starts; ip -o -4 a show dev ethwe")

    machine.cut_power()
    machine.boot()
    wait_for(lambda: "activating" in states(machine)[2:3], lambda: why_units_fail(machine))
    without_etcd = states(machine)
    succeed(machine, "systemctl", "enable", "--now", "etcd")
    wait_for(lambda: machine.run(*ask).returncode == 0, lambda: why_units_fail(machine))
    wait_for(lambda: "inet" in machine.run(*ask).stdout, lambda: why_units_fail(machine))
    shown = succeed(machine, *ask)
    succeed(machine, "docker", "rm", "--force", "kept")

    assert without_etcd == ["inactive", "inactive", "activating", "inactive", "inactive"]
    assert shown.startswith("started\nstarted\n")
    assert " inet 10.255.0.51/24 " in shown
    assert ["active"] * len(UNITS) == states(machine)
