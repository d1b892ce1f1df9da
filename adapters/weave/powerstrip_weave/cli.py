"""
The command ``powerstrip-weave``: how the adapter is, and what is done by hand.

I/O: asks the adapter where it listens. A reset alone needs no adapter: it asks the kernel.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.task import react

from powerstrip.core.addresses import Address, TcpAddress, UnixAddress, parse_address
from powerstrip.errors import ConfigError
from powerstrip_weave.errors import NetworkError
from powerstrip_weave.networks.peers import PeerList
from powerstrip_weave.networks.rights import check_rights
from powerstrip_weave.networks.vxlan import VxlanNetwork
from powerstrip_weave.service import DEFAULT_LISTEN

ANSWER_SECONDS = 60.0
"""How long the adapter may take: Weave Net's command is bounded by 30 seconds, and runs twice."""


class CommandError(Exception):
    """
    The command can't be done; the text is a sentence for the user.
    """


def main(words: Sequence[str] | None = None) -> None:
    """
    Do what the command line says.

    Raises:
        SystemExit: always where it could not be done, with a sentence or the status 1.
    """
    options = _options(words)
    try:
        at = _adapter_address(options.at)
        if options.command == "status":
            _status(at, as_json=options.json)
        elif options.command == "reset":
            _reset(at)
        else:
            _ask(at, "POST", f"/{options.command}", {"address": options.address})
    except CommandError as error:
        raise SystemExit(f"powerstrip-weave: {error}") from None


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    # Before the command and behind it: there its default would undo what was said before.
    at = argparse.ArgumentParser(add_help=False)
    at.add_argument(
        "--at",
        metavar="ADDRESS",
        default=argparse.SUPPRESS,
        help=f"where the adapter listens: its own --listen [default: {DEFAULT_LISTEN}]",
    )
    parser = argparse.ArgumentParser(
        prog="powerstrip-weave",
        description="How the weave adapter is, and what is done by hand.",
        parents=[at],
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, what: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=what, description=what, parents=[at])

    status = add("status", "containers, peers, and what is wrong, which the status 1 says too")
    status.add_argument("--json", action="store_true", help="as the adapter says it")
    expose = add("expose", "give this host an address on the network")
    hide = add("hide", "take an address of this host's away")
    for command in (expose, hide):
        command.add_argument("address", metavar="CIDR", help="such as 10.255.0.1/8")
    add("reset", "remove all that vxlan has made on this host, once the adapter is stopped")
    return parser.parse_args(words, argparse.Namespace(at=DEFAULT_LISTEN))


def _adapter_address(text: str) -> TcpAddress | UnixAddress:
    try:
        address: Address = parse_address(text, "--at")
    except ConfigError as error:
        raise CommandError(str(error)) from None
    if not isinstance(address, TcpAddress | UnixAddress):
        raise CommandError(f"--at {address}: must be tcp://HOST:PORT or unix:///PATH")
    return address


class _Connection(http.client.HTTPConnection):
    """
    A connection to the adapter, wherever it listens.
    """

    def __init__(self, address: TcpAddress | UnixAddress) -> None:
        super().__init__("adapter", timeout=ANSWER_SECONDS)
        self._address = address

    def connect(self) -> None:
        """
        Connect, by a UNIX socket or by TCP.
        """
        if isinstance(self._address, UnixAddress):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address.path)
        else:
            host = self._address.host or "localhost"
            self.sock = socket.create_connection((host, self._address.port), self.timeout)


def _ask(
    at: TcpAddress | UnixAddress, method: str, path: str, body: dict[str, str] | None = None
) -> dict[str, Any]:
    """
    What the adapter answers.

    Raises:
        CommandError: with its words, where it refuses.
    """
    connection = _Connection(at)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    except TimeoutError:
        what = f"does not answer within {ANSWER_SECONDS:g} s"
        raise CommandError(f"the adapter at {at} {what}") from None
    except OSError as error:
        what = error.strerror or str(error)
        raise CommandError(f"the adapter at {at} can't be reached: {what}") from None
    except (http.client.HTTPException, ValueError):
        raise CommandError(f"what answers at {at} is not the adapter") from None
    finally:
        connection.close()
    if response.status != 200:
        raise CommandError(str(answer.get("message", response.reason)).removeprefix("weave: "))
    return answer


def _status(at: TcpAddress | UnixAddress, *, as_json: bool) -> None:
    answer = _ask(at, "GET", "/status")
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(status_lines(answer)))
    if _problems(answer):
        raise SystemExit(1)


def status_lines(answer: dict[str, Any]) -> list[str]:
    """
    A status as text: the tables that have rows, and a line for each problem.
    """
    mtu = answer["mtu_bytes"]
    driver = f"{answer['driver']}, MTU {mtu}" if mtu else answer["driver"]
    containers = [
        (each["id"][:12], each["name"] or "?", " ".join(each["addresses"]), _attached(each))
        for each in answer["containers"]
    ]
    stopped = [
        (each["id"][:12], each["name"], _ago(each["seconds_ago"]), each["problem"])
        for each in answer["stopped"]
    ]
    peers = [(each["address"], _ago(each["last_heard_seconds"])) for each in answer["peers"]]
    return [
        *_table(("DRIVER", "ENGINE"), [(driver, answer["engine"]["address"])]),
        *_table(("PEER", "HEARD"), peers),
        *_table(("CONTAINER", "NAME", "ADDRESSES", "ATTACHED"), containers),
        *_table(("CONTAINER", "NAME", "STOPPED", "BECAUSE"), stopped),
        *(f"problem: {problem}" for problem in _problems(answer)),
    ]


def _problems(answer: dict[str, Any]) -> list[str]:
    engine = answer["engine"]["problem"]
    return [*answer["problems"], *([engine] if engine else [])]


def _attached(container: dict[str, Any]) -> str:
    return "yes" if container["attached"] else "no"


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s ago"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """
    Lines in columns, and an empty one below, or none at all where there is no row.
    """
    lines = [head, *rows]
    if len(lines) == 1:
        return []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        *("   ".join(map(str.ljust, line, widths)).rstrip() for line in lines),
        "",
    ]


def _reset(at: TcpAddress | UnixAddress) -> None:
    """
    Remove what the driver has made, whoever made it.
    """
    try:
        _ask(at, "GET", "/status")
    except CommandError:
        pass
    else:
        what = "stop it first, since what it has attached would stay cut off"
        raise CommandError(f"the adapter runs, at {at}: {what}")

    react(_remove_network)


async def _remove_network(reactor: Any) -> None:
    network = VxlanNetwork(reactor, reactor, PeerList())
    try:
        check_rights()
        await network.reset()
        await network.stop()
    except NetworkError as error:
        raise SystemExit(f"powerstrip-weave: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
