"""
Weave Net as the network, driven by its own ``weave`` command.

I/O: runs the command, for Weave Net 2.8. What is said here of its behaviour was read off that
version: its script, and the programs that the script calls.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from powerstrip_weave.errors import AddressInUse, NetworkError, NotRunning
from powerstrip_weave.interfaces import INetwork, NetworkHealth, Peer, RunningContainer
from powerstrip_weave.networks.command import CommandReactor, CommandTimeout, run_command

TIMEOUT_SECONDS = 30.0
"""
How long one ``weave`` may take. Each starts a container of its own (weaveexec), which takes a
second on an idle machine and ten on a busy one.
"""

HOST = "weave:expose"
"""What Weave Net calls the host among the containers."""

_HELD = re.compile(
    r"address (?P<address>[0-9.]+) (?:"
    r"is owned by other peer (?P<peer>.+)|is already owned by (?P<owner>\S+)|already in use)"
)
"""Weave Net's allocator refuses an address (its ipam/claim.go)."""

_log = Logger(namespace="powerstrip-weave")


@frozen
class _Line:
    """
    What ``weave ps`` says of a container, or of the host.
    """

    holder: str
    """An id as it was asked for, one of 12 digits where none was, or `HOST`."""

    addresses: tuple[IPv4Interface, ...]


@implementer(INetwork)
class WeaveNetwork:
    """
    A Weave Net that somebody else launches and stops.

    What containers have been attached by hand is left alone: this knows of those that it was told
    of, be it to attach them or to keep them.

    Args:
        command: What stands before ``attach`` on the command line.
        environment: Of the command. ``DOCKER_HOST`` names the engine to it.
    """

    def __init__(
        self,
        reactor: CommandReactor,
        environment: Mapping[str, str],
        command: Sequence[str] = ("weave",),
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._reactor = reactor
        self._environment = environment
        self._command = tuple(command)
        self._timeout_seconds = timeout_seconds
        self._known: set[str] = set()
        """The containers that this was told of."""
        self._attaching: set[str] = set()
        self._exposed: set[IPv4Interface] = set()

    async def start(self) -> None:
        """
        See that Weave Net is launched.
        """
        await self._weave("status")

    async def stop(self) -> None:
        """
        Nothing runs in this process.
        """

    async def attach(
        self, container: RunningContainer, addresses: tuple[IPv4Interface, ...]
    ) -> None:
        """
        Attach a container by ``weave attach``, once Weave Net has said that it is well.

        While its router is stopped, ``weave attach`` exits with 0 and the address works nowhere.
        """
        self._known.add(container.id)
        self._attaching.add(container.id)
        try:
            await self._attach(container, addresses)
        finally:
            self._attaching.discard(container.id)

    async def detach(self, container_id: str) -> None:
        """
        Detach a container. Of one that has ended Weave Net removes all by itself.
        """
        await self._change("detach", await self._addresses_of(container_id), container_id)
        self._known.discard(container_id)

    async def attachments(self) -> Mapping[str, tuple[IPv4Interface, ...]]:
        """
        The containers that are attached, of those that this was told of.
        """
        full_ids = {container_id[:12]: container_id for container_id in self._known}
        return {
            full_ids[line.holder]: line.addresses
            for line in await self._ps()
            if line.holder in full_ids and line.addresses
        }

    async def keep_only(self, container_ids: Set[str]) -> None:
        """
        Detach the containers that this has attached but for these.
        """
        for container_id in self._known - container_ids - self._attaching:
            await self.detach(container_id)
        self._known |= container_ids

    async def health(self) -> NetworkHealth:
        """
        What ``weave status`` says.
        """
        try:
            await self._weave("status")
            lines = (await self._weave("status", "connections")).splitlines()
        except NetworkError as error:
            return NetworkHealth("weave", (), (str(error),))
        connections = list(_connections(lines))
        return NetworkHealth(
            "weave",
            tuple(connection.peer for connection in connections),
            tuple(connection.problem for connection in connections if connection.problem),
        )

    async def expose(self, address: IPv4Interface) -> None:
        """
        Give the host an address by ``weave expose``.
        """
        await self._weave("status")
        await self._weave("expose", str(address))
        self._exposed.add(address)

    async def hide(self, address: IPv4Interface) -> None:
        """
        Take it away by ``weave hide``.
        """
        await self._weave("hide", str(address))
        self._exposed.discard(address)

    async def reset(self) -> None:
        """
        Detach and hide what this has attached and exposed. Weave Net itself stays.
        """
        await self.keep_only(frozenset())
        for address in sorted(self._exposed):
            await self.hide(address)

    async def _attach(
        self, container: RunningContainer, addresses: tuple[IPv4Interface, ...]
    ) -> None:
        # Two questions at a time, since a client waits.
        questions: list[Deferred[Any]] = [
            Deferred.fromCoroutine(self._addresses_of(container.id)),
            Deferred.fromCoroutine(self._weave("status")),
        ]
        try:
            before, _ = await gatherResults(questions, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        wanted = set(addresses)
        try:
            await self._change("detach", before - wanted, container.id)
            await self._change("attach", wanted - before, container.id)
        except NetworkError as error:
            await self._take_back(container.id, wanted)
            if not Path(f"/proc/{container.pid}").exists():
                raise NotRunning(str(error)) from None
            raise

    async def _take_back(self, container_id: str, addresses: Set[IPv4Interface]) -> None:
        """
        Let a container have none of the addresses where it can't have all.
        """
        try:
            await self._change("detach", addresses, container_id)
        except NetworkError as error:
            _log.info("after a failed attach: {error}", error=error)

    async def _change(self, verb: str, addresses: Set[IPv4Interface], container_id: str) -> None:
        if addresses:
            await self._weave(verb, *map(str, sorted(addresses)), container_id)

    async def _addresses_of(self, container_id: str) -> set[IPv4Interface]:
        return {address for line in await self._ps(container_id) for address in line.addresses}

    async def _ps(self, *container_ids: str) -> list[_Line]:
        output = await self._weave("ps", *container_ids)
        return [
            _Line(holder, tuple(_interfaces(rest)))
            for holder, _mac, *rest in map(str.split, output.splitlines())
        ]

    async def _weave(self, verb: str, *arguments: str) -> str:
        """
        What ``weave`` prints.

        Raises:
            NetworkError: with what it said, where it exits with anything but 0.
        """
        if shutil.which(self._command[0], path=self._environment.get("PATH")) is None:
            raise NetworkError(f"{self._command[0]}: there is no such command here")
        try:
            outcome = await run_command(
                self._reactor,
                [*self._command, verb, *arguments],
                self._environment,
                self._timeout_seconds,
            )
        except CommandTimeout:
            raise NetworkError(
                f"weave {verb} did not end within {self._timeout_seconds:g} s"
            ) from None
        said = "; ".join(line.strip() for line in outcome.errors.splitlines() if line.strip())
        if outcome.status != 0:
            raise _error(verb, said or f"ended with status {outcome.status}")
        if said:
            _log.warn("weave {verb}: {said}", verb=verb, said=said)
        return outcome.output


def _error(verb: str, said: str) -> NetworkError:
    held = _HELD.search(said)
    if held is None:
        return NetworkError(f"weave {verb}: {said}")
    if held["peer"]:
        holder = f"Weave Net's peer {held['peer']}"
    elif held["owner"] == HOST:
        holder = "this host"
    else:
        holder = f"container {held['owner'][:12]}" if held["owner"] else "Weave Net"
    return AddressInUse(IPv4Interface(held["address"]), holder)


def _interfaces(words: Iterable[str]) -> Iterator[IPv4Interface]:
    for word in words:
        with contextlib.suppress(ValueError):
            yield IPv4Interface(word)


@frozen
class _Connection:
    """
    A line of ``weave status connections``.
    """

    peer: Peer
    problem: str | None


def _connections(lines: Iterable[str]) -> Iterator[_Connection]:
    """
    The connections, of lines such as these.

        <- 192.0.2.7:39316    established fastdp 7a:0c:76:06:37:d8(node2) mtu=1376
        -> 192.0.2.8:6783     failed      dial tcp4: i/o timeout, retry: 2026-01-01 10:00:00
    """
    for line in lines:
        words = line.split(maxsplit=3)
        # Each node is among the addresses that it was given to reach all nodes by.
        if len(words) < 3 or words[0] not in ("<-", "->") or "connect to ourself" in line:
            continue
        address, state, rest = words[1], words[2], words[3] if len(words) > 3 else ""
        if state == "established":
            yield _Connection(Peer(address, 0.0), None)
        else:
            problem = f"the connection to {address} is {state}: {rest.strip()}".rstrip(": ")
            yield _Connection(Peer(address, None), problem)
