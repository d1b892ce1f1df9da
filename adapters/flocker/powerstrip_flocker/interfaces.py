"""
The seams of the adapter: what hooks ask for, where datasets are kept, where it is written down who
owns them and where nodes are found, what nodes do for each other, and who uses a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from zope.interface import Interface

from powerstrip_flocker.datasets.record import Record


@frozen
class Snapshot:
    """
    A dataset as it was at one moment.
    """

    name: str
    """
    Unique within its dataset, as in ``powerstrip-00000007``: letters, digits, ``.``, ``_``, ``-``.
    """

    identity: str
    """The same on each host that has received it, and on none that has another content by its name:
    a GUID of ZFS, a UUID of btrfs."""

    created_seconds: float
    """When it was taken, in seconds since 1970."""


@frozen
class Space:
    """
    How large things are, in bytes.
    """

    used_bytes: int
    """By the dataset and its snapshots."""

    free_bytes: int
    """What can still be written where the dataset is."""


class IStorage(Interface):
    """
    Datasets on this host.

    A dataset here is either writable and mounted, or a replica: read-only, and not mounted where
    a container could find it: an engine that is told to mount its mount point, or a path below
    that, finds nothing there, can't make it, and refuses.

    All methods may be called again after a crash in the middle of one. At most one runs for a
    dataset at a time, except those that only look.

    Raises:
        StorageError: by any method, when the file system refuses; `NoSpaceError` where it is full.
    """

    async def start() -> None:
        """
        Look whether the pool or the path can be used, and tidy up what a crash has left: receives
        that were cut, above all.
        """

    async def names() -> Sequence[str]:
        """
        The datasets that are here, as owner or replica.
        """

    async def create(name: str) -> None:
        """
        Make an empty dataset, which is writable. One of the name may not be here.
        """

    async def exists(name: str) -> bool:
        """
        Whether a dataset of this name is here, in any state.
        """

    def mount_point(name: str) -> Path:
        """
        Where a dataset is found when it is writable: the same path as long as it is here. As long
        as it is here and not writable, nothing is there, and no directory can be made there: not
        after `fence`, a receive, `roll_back` or a reboot either.
        """

    async def is_writable(name: str) -> bool:
        """
        Whether it can be written, as opposed to a replica or one that is fenced. After a reboot
        none can, until `set_writable`.
        """

    async def set_writable(name: str) -> None:
        """
        Have it mounted and writable: what the owner's is.
        """

    async def fence(name: str) -> None:
        """
        Have it unmounted and read-only, for good until `set_writable`: also after a reboot.

        Raises:
            StorageError: when a process still has it open: then it stays as it was.
        """

    async def snapshot(name: str, snapshot: str) -> Snapshot:
        """
        Take a snapshot. What was written before is in it, on disk.
        """

    async def snapshots(name: str) -> Sequence[Snapshot]:
        """
        Its snapshots, oldest first.
        """

    async def delete_snapshot(name: str, snapshot: str) -> None:
        """
        Forget a snapshot, if it is here.
        """

    async def roll_back(name: str, snapshot: str) -> None:
        """
        Make it what it was then. Later snapshots, and what was written since, are lost.
        """

    def sending(name: str, snapshot: str, base: str | None) -> Sequence[str]:
        """
        The command that writes a snapshot to its standard output.

        Args:
            base: An earlier snapshot that the receiver has, from which only the difference is sent.
        """

    def receiving(name: str, base: str | None) -> Sequence[str]:
        """
        The command that reads what `sending` wrote from its standard input.

        Before it runs, what the dataset has beyond `base` must be gone (`roll_back`); with no base
        there may be no dataset of the name. After it has ended with status 0 the dataset is a
        replica that has the snapshot. If it was cut at any byte, the dataset is as it was before,
        once `start` or `forget_partial` has run.
        """

    async def forget_partial(name: str) -> None:
        """
        Remove what a receive that was cut has left.
        """

    async def estimate_bytes(name: str, snapshot: str, base: str | None) -> int | None:
        """
        About how much `sending` will write, or None where that isn't known beforehand.
        """

    async def space(name: str) -> Space:
        """
        How large it is, and how much room there is.
        """

    async def destroy(name: str) -> None:
        """
        Remove a dataset with all its snapshots, if it is here.
        """


@frozen
class Entry:
    """
    A record as it was read.
    """

    record: Record
    revision: int
    """Tells whether anybody has changed it since."""


@frozen
class Claim:
    """
    The right to move a dataset, which one node has at a time, and only while it lives.
    """

    name: str
    node: str
    """Where the dataset is to go."""

    token: str
    """Another one for each claim."""


class ILedger(Interface):
    """
    Where it is written down who owns what.

    Raises:
        LedgerError: by any method, when it can't be said: what was asked may or may not have
            happened, and has to be read again.
    """

    async def get(name: str) -> Entry | None:
        """
        A dataset's record, or None where there is no such dataset. Never an old one: what another
        node has changed before is seen.
        """

    async def all() -> Sequence[Entry]:
        """
        All records, by name.
        """

    async def create(record: Record) -> Entry:
        """
        Write the record of a new dataset.

        Raises:
            ConflictError: when there is one of its name.
        """

    async def replace(entry: Entry, record: Record) -> Entry:
        """
        Change a record, for all nodes at one moment.

        Raises:
            ConflictError: when it is no longer what `entry` says.
        """

    async def delete(entry: Entry) -> None:
        """
        Forget a dataset.

        Raises:
            ConflictError: when its record is no longer what `entry` says.
        """

    async def claim(entry: Entry, node: str) -> Claim:
        """
        Take the right to move a dataset to a node. It is kept as long as this process lives and
        reaches the ledger, and ends some seconds after that.

        Raises:
            ConflictError: when another move of it is under way, or the record has changed.
        """

    async def claim_of(name: str) -> Claim | None:
        """
        The move of a dataset that is under way.

        Once this is None, no earlier claim can be committed any more: a record that is read after
        that tells for good what has come of the move.
        """

    async def commit(claim: Claim, entry: Entry, record: Record) -> Entry:
        """
        Change a record and end the claim, for all nodes at one moment.

        When it is in doubt (a `LedgerError` that is no `ConflictError`), `get` by this same ledger
        tells: the commit has happened then, or never will. The claim is kept until `release`.

        Raises:
            ConflictError: when the claim has ended by itself, or the record has changed.
        """

    async def release(claim: Claim) -> None:
        """
        End a claim, if it has not ended.
        """

    async def start() -> None:
        """
        Make ready, and look whether it can be reached.
        """

    async def stop() -> None:
        """
        End all claims of this process.
        """


Report = Callable[[int, int | None], None]
"""Is told how many bytes have come so far, and how many are expected, if that is known."""


class IPeer(Interface):
    """
    What the node that owns a dataset does for the node that the dataset moves to.

    A call may reach the owner late, or twice, or after its caller has given up: the owner looks at
    the ledger before it does anything. Each call ends after a bound on silence.

    Raises:
        PeerError: by any method, when the node can't be reached: it may have done it all the same.
        FlockerError: as the owner raised it, of the same class.
    """

    async def prepare(claim: Claim) -> Sequence[Snapshot]:
        """
        Take a snapshot, while containers go on.

        Returns:
            The dataset's snapshots, oldest first. The last is the new one.
        """

    async def fence(claim: Claim) -> Sequence[Snapshot]:
        """
        Make the dataset read-only as long as the claim lasts, and take the last snapshot.

        Returns:
            As `prepare`.

        Raises:
            InUseError: when something uses it: then it stays as it was.
        """

    async def fetch(claim: Claim, snapshot: str, base: str | None, report: Report) -> None:
        """
        Run the storage's `sending` there and its `receiving` here, joined. Whether the claim holds
        is asked at the beginning: a stream may take longer than its move lasts.

        However it ends, also when it is cancelled, neither command runs any more.
        """

    async def look(name: str) -> None:
        """
        Say that a move has ended: the node looks at the ledger, and does what that says.
        """

    async def forget(name: str, identity: str) -> None:
        """
        Remove the replica of a dataset that has been destroyed.

        Args:
            identity: The record's. A replica of another one stays.
        """

    async def bring(name: str) -> None:
        """
        Have a dataset moved to that node.
        """


class INodes(Interface):
    """
    Where the nodes of the cluster are found.

    Raises:
        LedgerError: by any method, when it can't be said.
    """

    async def announce(node: str, address: str) -> None:
        """
        Say where a node lets other nodes in, as in ``192.0.2.1:4523``, in place of what was said
        before.
        """

    async def address(node: str) -> str | None:
        """
        Where a node lets others in, or None where none of this name has ever said it.
        """

    async def all() -> Mapping[str, str]:
        """
        The addresses of all nodes, by name.
        """


class IUses(Interface):
    """
    Who uses a dataset on this node.
    """

    async def containers(name: str) -> Sequence[str]:
        """
        The containers that refer to a dataset, created or running, and those expected.

        Raises:
            FlockerError: when it can't be said.
        """

    def expect(name: str) -> None:
        """
        A container is about to be created that uses it. It counts as one until it has been seen,
        or can't come any more.
        """


class IRequests(Interface):
    """
    What becomes of requests for which datasets were had: what was expected with them comes, or
    does not.
    """

    def starting(container_id: str, names: Sequence[str]) -> None:
        """
        A container is about to be started that is there already, with these datasets. Each has
        been expected for it.
        """

    def not_created(names: Sequence[str]) -> None:
        """
        A container does not come. Each of these datasets has been expected for it.
        """

    def not_started(container_id: str) -> None:
        """
        A container was not started, whether that had been expected or not.
        """


class IDatasets(Interface):
    """
    Datasets, as the hooks ask for them: the cluster's own, or those of Flocker's control service.

    Raises:
        FlockerError: by any method, with the sentence that the docker command prints.
    """

    async def start() -> None:
        """
        Make ready. Nothing is asked for before this has ended.
        """

    async def stop() -> None:
        """
        Ask nothing of others any more. Datasets stay as they are.
        """

    async def have(names: Sequence[str]) -> Mapping[str, Path]:
        """
        Have datasets here, writable, for a container that is about to be created or started: all,
        or each stays where it was. From now on the container counts as one that uses them.

        Returns:
            Where they are mounted, by name.
        """

    def mounted_below() -> Path:
        """
        A directory below which all datasets are mounted: what is elsewhere is none.
        """

    async def mount_points() -> Mapping[str, Path]:
        """
        Where datasets are mounted here when they are here, by name: those of all names that are
        known, also where they are elsewhere now.
        """
