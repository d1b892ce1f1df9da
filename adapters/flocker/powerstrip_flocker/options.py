"""
What ``twistd powerstrip-flocker`` takes on its command line.

I/O: none but the environment, for one default. Addresses and files are read by the service.
"""

from __future__ import annotations

import os
import re
from typing import ClassVar

from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from powerstrip.adapter.serving import DEFAULT_ENGINE
from powerstrip_flocker.errors import RequestError
from powerstrip_flocker.names import check_name
from powerstrip_flocker.places import is_below

__all__ = ["DEFAULT_LEDGER", "DEFAULT_LISTEN", "Options", "check_root"]

DEFAULT_LISTEN = "unix:///run/powerstrip-flocker.sock"
"""A socket, which users who may not speak to the engine can't speak to either."""

DEFAULT_LEDGER = "/var/lib/powerstrip-flocker/ledger.json"

_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*")
"""zpool(8) and zfs(8), "NAMING", but for colons and spaces, which no mount point here can have."""

CONTROL_SERVICE = "FLOCKER_CONTROL_SERVICE_BASE_URL"
"""What ClusterHQ's own adapter read it from."""

_NEEDS_STORAGE = ("node", "ledger", "enter-mounts")

_NEEDS_CLUSTER = (
    "peer-listen",
    "peer-advertise",
    "insecure-peers",
    "etcd-ca",
    "etcd-cert",
    "etcd-key",
    "etcd-user",
)

_TLS = ("tls-ca", "tls-cert", "tls-key")


class Options(BaseOptions):
    """
    What ``twistd powerstrip-flocker`` takes.
    """

    synopsis = "--node NAME --storage zfs:POOL|btrfs:PATH [options]"
    longdesc = "Has the datasets of /flocker/NAME where the containers are that bind them."

    optParameters: ClassVar = [
        ["docker", None, DEFAULT_ENGINE, "The engine's own socket: unix:///PATH or tcp://…"],
        ["node", None, None, "What this node is called: another name for each node, for good."],
        ["storage", None, None, "Where datasets are kept: zfs:POOL or btrfs:PATH."],
        ["ledger", None, None, f"Who owns what, for one node. [default: {DEFAULT_LEDGER}]"],
        ["etcd-ca", None, None, "The CA's certificate for etcd's."],
        ["etcd-cert", None, None, "This node's certificate for etcd."],
        ["etcd-key", None, None, "Its key."],
        ["etcd-user", None, None, "A file with NAME:PASSWORD for etcd."],
        ["peer-listen", None, None, "Where other nodes come in: HOST:PORT, as in 192.0.2.1:4523."],
        ["peer-advertise", None, None, "What other nodes call that, if not the same."],
        ["tls-ca", None, None, "The CA's certificate of all nodes, or of Flocker's cluster."],
        ["tls-cert", None, None, "This node's certificate, which has its name; or a user's."],
        ["tls-key", None, None, "Its key."],
        [
            "enter-mounts",
            None,
            None,
            "A process that sees datasets mounted, normally 1: for an adapter in a container.",
        ],
        [
            "control-service",
            None,
            None,
            f"Flocker's own, in place of all that: https://HOST:4523/v1, if not {CONTROL_SERVICE}.",
        ],
        ["control-node", None, None, "This node's UUID in Flocker, before Flocker 1.8."],
        ["control-size", None, None, "The size of a new dataset in bytes, if not Flocker's own."],
        ["grace", None, "10", "Seconds that what is under way has to end after SIGTERM."],
    ]
    optFlags: ClassVar = [
        ["insecure-peers", None, "Let nodes in without TLS, from all the network."],
        ["control-unleased", None, "Move datasets of a Flocker before 1.4, in use or not."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []
        self["etcd"] = []
        for name in ("listen", "etcd"):
            # ``--help`` would show the breaks between the lines of the docstring.
            self.docs[name] = " ".join(self.docs[name].split())

    def opt_listen(self, address: str) -> None:
        """
        Where Powerstrip comes in: unix:///PATH or tcp://127.0.0.1:PORT. May be given several times.
        [default: unix:///run/powerstrip-flocker.sock]
        """
        self["listen"].append(address)

    def opt_etcd(self, urls: str) -> None:
        """
        Who owns what, for several nodes: etcd's URLs, as in https://192.0.2.1:2379, with commas
        between them. May be given several times.
        """
        self["etcd"] += [url.strip() for url in urls.split(",") if url.strip()]

    def postOptions(self) -> None:
        """
        Check what is not checked elsewhere.
        """
        if self["control-service"] is None and self["storage"] is None:
            self["control-service"] = os.environ.get(CONTROL_SERVICE) or None
        if self["control-service"] is not None:
            self._check_control_service()
        else:
            self._check_control_options()
            self._check_storage()
            self._check_node()
            self._check_ledger()
            self._check_peers()
        self._check_tls()
        if self["enter-mounts"] is not None and not re.fullmatch(
            r"[1-9][0-9]{0,9}", self["enter-mounts"]
        ):
            raise UsageError("--enter-mounts takes the number of a process")
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", self["grace"]):
            raise UsageError("--grace takes a number of seconds")
        self["grace"] = float(self["grace"])

    def _check_control_service(self) -> None:
        given = [name for name in ("storage", *_NEEDS_STORAGE, *_NEEDS_CLUSTER) if self[name]]
        if self["etcd"]:
            given.append("etcd")
        if given:
            raise UsageError(
                f"--{given[0]} is not for Flocker's control service, which has storage and nodes "
                "of its own"
            )
        if self["control-size"] is not None:
            if not re.fullmatch(r"[0-9]{1,18}", self["control-size"]):
                raise UsageError("--control-size takes a number of bytes")
            self["control-size"] = int(self["control-size"])

    def _check_control_options(self) -> None:
        for name in ("control-node", "control-size", "control-unleased"):
            if self[name]:
                raise UsageError(f"--{name} needs --control-service")

    def _check_node(self) -> None:
        if self["node"] is None:
            raise UsageError("--node is missing: what this node is called, as in --node node1")
        try:
            check_name(self["node"])
        except RequestError:
            raise UsageError(
                f"--node {self['node']!r}: it may have letters of ASCII, digits, '.', '_' and '-' "
                "only, up to 64"
            ) from None

    def _check_storage(self) -> None:
        if self["storage"] is None:
            raise UsageError(
                "--storage is missing: zfs:POOL or btrfs:PATH (or --control-service URL)"
            )
        kind, _, where = self["storage"].partition(":")
        if kind == "zfs" and not _POOL.fullmatch(where):
            raise UsageError(f"--storage {self['storage']}: zfs: takes a pool, or a file system")
        if kind == "btrfs":
            if not where.startswith("/"):
                raise UsageError(f"--storage {self['storage']}: btrfs: takes an absolute path")
            problem = check_root(where)
            if problem is not None:
                raise UsageError(f"--storage {self['storage']}: {problem}")
        if kind not in ("zfs", "btrfs"):
            raise UsageError("--storage takes zfs:POOL or btrfs:PATH")

    def _check_ledger(self) -> None:
        if self["etcd"] and self["ledger"] is not None:
            raise UsageError("--ledger is for one node, and --etcd for several: give one of them")
        if not self["etcd"]:
            for name in (*_NEEDS_CLUSTER, *_TLS):
                if self[name]:
                    raise UsageError(f"--{name} is for several nodes: it needs --etcd")
        if (self["etcd-cert"] is None) != (self["etcd-key"] is None):
            raise UsageError("--etcd-cert and --etcd-key belong together")
        if self["etcd-cert"] is not None and self["etcd-ca"] is None:
            raise UsageError("--etcd-cert needs --etcd-ca")

    def _check_peers(self) -> None:
        if self["etcd"] and self["peer-listen"] is None:
            raise UsageError(
                "--etcd needs --peer-listen: where other nodes fetch what moves away from here"
            )

    def _check_tls(self) -> None:
        tls = [self[name] for name in _TLS]
        if any(tls) and not all(tls):
            raise UsageError("--tls-ca, --tls-cert and --tls-key belong together")
        if any(tls) and self["insecure-peers"]:
            raise UsageError("--insecure-peers is for nodes without TLS: leave it out, or --tls-…")


def check_root(path: str) -> str | None:
    """
    Say why datasets can't be mounted below a path, if they can't.
    """
    if ":" in path:
        return f"{path} has a colon, which no bind can have"
    if is_below(path, "/flocker"):
        return (
            f"{path} can't be where datasets are mounted: below /flocker they are named. "
            "Choose another place, such as /var/lib/flocker"
        )
    return None
