"""
Stands in for Weave Net's ``weave`` command: says what it says, and gives containers addresses.

The wording and the statuses are those of Weave Net 2.8, read off its script, ``weaveutil`` and the
router's allocator. Containers are network namespaces. A directory, named by ``FAKE_WEAVE``, is the
engine and the router at once:

    router          ``running`` or ``stopped``; there is none where it was never launched
    containers/ID   the container's process; one that has ended is a container that has stopped
    held            addresses that another node has, and that node, a line each
    routes          networks that the host has routes to, a line each
    log             what was asked of this command, a line each
    owned           (written here) the addresses of the containers of this node
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import NoReturn

HERE = Path(os.environ["FAKE_WEAVE"])
BRIDGE = "weave"
CIDR = re.compile(r"(ip:)?[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}")
"""What the script takes for an address: far from all of these are."""


def main(verb: str, *arguments: str) -> None:
    """
    What ``weave VERB ARGUMENT…`` does.
    """
    with (HERE / "log").open("a") as log:
        print(verb, *arguments, file=log)
    hang = HERE / f"hang-{verb}"
    if hang.exists():
        subprocess.run(["sleep", hang.read_text()])  # as the script waits for docker
    with (HERE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        {
            "status": status,
            "ps": ps,
            "attach": attach,
            "detach": detach,
            "expose": expose,
            "hide": hide,
        }[verb](*arguments)


def status(*what: str) -> None:
    """
    How the router is, or its connections.
    """
    state = router()
    if state is None:
        fail("weave container is not present. Have you launched it?")
    if state == "stopped":
        fail("weave container is not running.", status=7)  # curl's, which could not connect
    if what == ("connections",):
        print(read("connections"), end="")
    else:
        print("\n        Version: 2.8.1\n\n        Service: router\n       Protocol: weave 1..2\n")


def ps(*containers: str) -> None:
    """
    The addresses of these containers, or of all and the host.
    """
    if not containers:
        ids = [path.name for path in (HERE / "containers").iterdir() if process(path.name)]
        containers = ("weave:expose", *(container[:12] for container in ids))
    for container in containers:
        if container == "weave:expose":
            say_addresses(container, None, BRIDGE)
        elif process(container) is not None:
            say_addresses(container, process(container), "ethwe")


def attach(*arguments: str) -> None:
    """
    Give a container addresses.
    """
    addresses, rest = split(arguments)
    if len(rest) != 1:
        usage()
    if router() is None:
        fail("weave container is not present. Have you launched it?")
    container = rest[0]
    if not any((HERE / "containers").glob(f"{container}*")):
        fail(f"Error: No such container: {container}")
    claim(container, addresses)
    pid = process(container)
    if pid is None:
        fail(f"container {container} not running")
    if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
        fail(
            "Container is running in the host network namespace, and therefore cannot be\n"
            "connected to weave - perhaps the container was started with --net=host"
        )
    connect(pid)
    for address in addresses:
        if address not in addresses_of(pid, "ethwe"):
            run("ip", "address", "add", str(address), "dev", "ethwe", within=pid)
    run("ip", "link", "set", "ethwe", "up", within=pid)
    show(addresses)


def detach(*arguments: str) -> None:
    """
    Take addresses from a container, and with the last of them its interface.
    """
    addresses, rest = split(arguments)
    if len(rest) != 1:
        usage()
    container = rest[0]
    pid = process(container)
    if pid is None:
        fail(f"container {container} not running")
    had = addresses_of(pid, "ethwe")
    for address in set(had) & set(addresses):
        run("ip", "address", "delete", str(address), "dev", "ethwe", within=pid)
    if had and set(had) <= set(addresses):
        run("ip", "link", "delete", "ethwe", within=pid)
    release(addresses)
    show(addresses)


def expose(*arguments: str) -> None:
    """
    Give the host addresses.
    """
    addresses, rest = split(arguments)
    if rest:
        usage()
    claim("weave:expose", addresses)
    make_bridge()
    for address in set(addresses) - set(addresses_of(None, BRIDGE)):
        run("ip", "address", "add", str(address), "dev", BRIDGE)
    show(addresses)


def hide(*arguments: str) -> None:
    """
    Take addresses from the host.
    """
    addresses, _ = split(arguments)
    for address in set(addresses) & set(addresses_of(None, BRIDGE)):
        run("ip", "address", "delete", str(address), "dev", BRIDGE)
    release(addresses)
    show(addresses)


def claim(owner: str, addresses: list[IPv4Interface]) -> None:
    """
    Ask the router for the addresses. A stopped one is not asked.
    """
    owned = owners()
    for address in addresses:
        for route in map(IPv4Network, read("routes").split()):
            if address.ip in route:
                say(f"Address {address.ip} overlaps with existing route {route} on host.")
        if router() != "running":
            continue
        for line in read("held").splitlines():
            held, peer = line.split(maxsplit=1)
            if held == str(address.ip):
                fail(f"address {held} is owned by other peer {peer}")
        holder = owned.get(str(address.ip), owner)
        if holder != owner:
            fail(f"address {address.ip} is already owned by {holder}")
        owned[str(address.ip)] = owner
    write_owners(owned)


def release(addresses: list[IPv4Interface]) -> None:
    """
    Let others have the addresses.
    """
    released = {str(address.ip) for address in addresses}
    write_owners({ip: owner for ip, owner in owners().items() if ip not in released})


def connect(pid: int) -> None:
    """
    Give a container the interface, if it has none. A stopped router carries nothing from there.
    """
    if subprocess.run(entering(pid, "ip", "link", "show", "ethwe"), capture_output=True).returncode:
        make_bridge()
        near, far = f"vethwepl{pid}", f"vethwepg{pid}"
        run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
        if router() == "running":
            run("ip", "link", "set", near, "master", BRIDGE, "up")
        run("ip", "link", "set", far, "netns", str(pid))
        run("ip", "link", "set", far, "name", "ethwe", within=pid)


def make_bridge() -> None:
    """
    Make the bridge, if there is none.
    """
    if subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True).returncode != 0:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")


def split(arguments: tuple[str, ...]) -> tuple[list[IPv4Interface], list[str]]:
    """
    The addresses that the arguments begin with, and what follows them.
    """
    rest = list(arguments)
    addresses = []
    while rest and CIDR.fullmatch(rest[0]):
        text = rest.pop(0).removeprefix("ip:")
        try:
            addresses.append(IPv4Interface(text))
        except ValueError:
            fail(f"invalid CIDR address: {text}")
    return addresses, rest


def router() -> str | None:
    """
    What the router is doing.
    """
    return read("router").strip() or None


def process(container: str) -> int | None:
    """
    A container's process, if it runs. The first digits of an id are enough, as for docker.
    """
    path = next((HERE / "containers").glob(f"{container}*"), None)
    pid = int(path.read_text()) if path is not None else 0
    return pid if pid and Path(f"/proc/{pid}/ns/net").exists() else None


def owners() -> dict[str, str]:
    """
    Who has which address. The router takes them from containers that end.
    """
    owned: dict[str, str] = json.loads(read("owned") or "{}")
    return {
        address: owner
        for address, owner in owned.items()
        if owner == "weave:expose" or process(owner) is not None
    }


def write_owners(owned: dict[str, str]) -> None:
    """
    Keep who has which address.
    """
    (HERE / "owned").write_text(json.dumps(owned))


def addresses_of(pid: int | None, interface: str) -> list[IPv4Interface]:
    """
    The addresses of an interface, here or in a container.
    """
    done = subprocess.run(
        entering(pid, "ip", "-json", "-4", "address", "show", "dev", interface),
        capture_output=True,
        text=True,
    )
    links = json.loads(done.stdout or "[]") if done.returncode == 0 else []
    return [
        IPv4Interface(f"{entry['local']}/{entry['prefixlen']}")
        for link in links
        for entry in link.get("addr_info", [])
    ]


def say_addresses(holder: str, pid: int | None, interface: str) -> None:
    """
    A line of ``weave ps``.
    """
    addresses = addresses_of(pid, interface)
    if addresses or holder == "weave:expose":
        print(holder, "7a:0c:76:06:37:d8", *addresses)


def entering(pid: int | None, *command: str) -> list[str]:
    """
    The command that runs another one in a container's namespace.
    """
    return [*([] if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net"]), *command]


def run(*command: str, within: int | None = None) -> None:
    """
    Run a program that must not fail.
    """
    done = subprocess.run(entering(within, *command), capture_output=True, text=True)
    if done.returncode != 0:
        fail(done.stderr)


def read(name: str) -> str:
    """
    A file, or nothing.
    """
    path = HERE / name
    return path.read_text() if path.exists() else ""


def show(addresses: list[IPv4Interface]) -> None:
    """
    What success prints: the bare addresses.
    """
    print(*(address.ip for address in addresses))


def say(text: str) -> None:
    """
    A line for the user.
    """
    print(text, file=sys.stderr)


def usage() -> NoReturn:
    """
    What the script says to what it can't read, a bad address too.
    """
    fail("Usage:\n\nweave --help | help\n      setup\n\nweave attach [<addr> ...] <container_id>")


def fail(text: str, status: int = 1) -> NoReturn:
    """
    The end.
    """
    say(text)
    sys.exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
