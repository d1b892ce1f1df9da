"""
The paths at which the engine finds datasets: links that lead somewhere while these are mounted.

``ROOT/NAME`` leads to ``:mounted/NAME/PART``, where PART is something that the mounted file system
has and the empty directory below it has not. So the link leads nowhere from the moment at which
the file system is unmounted on, and after a loss of power, when an engine starts containers before
anybody can ask who owns what. Nothing has to be done for it, and so nothing can come too late.

An engine makes the source of a bind that isn't there (moby, volume/mounts/mounts.go, `Setup`), and
a container would write to that, and nobody would ever find it. Where a link stands that leads
nowhere, nothing can be made: mkdir(2) says EEXIST. The container isn't started.

I/O: runs ``sh``, where the file systems are mounted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from powerstrip_flocker.storage.command import Commands

__all__ = ["MAKE_LINK", "MOUNTED", "Links"]

MOUNTED = ":mounted"
"""No dataset can be called so."""

MAKE_LINK = f"""
make_link() {{
    mkdir -p "$1/{MOUNTED}/$2"
    if [ -d "$1/$2" ] && [ ! -L "$1/$2" ]; then
        rmdir "$1/$2"
    fi
    if [ "$(readlink "$1/$2")" != "{MOUNTED}/$2/$3" ]; then
        ln --symbolic --no-target-directory "{MOUNTED}/$2/$3" "$1/$2"
    fi
}}
"""
"""
Defines a function of the shell, whose arguments are the root, the name and the part. An empty
directory in the way, as an engine makes it, is replaced; all else that is there stays, and is an
error.
"""

REMOVE_LINK = f"""
set -e
[ ! -L "$1/$2" ] || rm "$1/$2"
[ ! -d "$1/{MOUNTED}/$2" ] || rmdir "$1/{MOUNTED}/$2"
"""

LIST = f"""
set -e
mkdir -p "$1/{MOUNTED}"
ls "$1/{MOUNTED}"
"""


@frozen
class Links:
    """
    The links of one storage.

    Args:
        root: Where they stand.
        part: What each mounted file system has.
    """

    commands: Commands
    root: Path
    part: str

    def path(self, name: str) -> Path:
        """
        What the engine is told.
        """
        return self.root / name

    def mounted(self, name: str) -> Path:
        """
        Where the file system has to be mounted.
        """
        return self.root / MOUNTED / name

    async def make(self, name: str) -> None:
        """
        Have the link, if it isn't there.

        Raises:
            StorageError: Something else is there.
        """
        script = f'set -e\n{MAKE_LINK}\nmake_link "$@"'
        await self.commands.run("sh", "-c", script, "link", str(self.root), name, self.part)

    async def remove(self, name: str) -> None:
        """
        Leave nothing, if it isn't mounted.
        """
        await self.commands.run("sh", "-c", REMOVE_LINK, "unlink", str(self.root), name)

    async def tidy_up(self, names: Sequence[str]) -> None:
        """
        Have the links of these datasets, and no others.
        """
        found = (await self.commands.run("sh", "-c", LIST, "list", str(self.root))).split()
        for name in sorted(set(found).difference(names)):
            await self.remove(name)
        for name in names:
            await self.make(name)
