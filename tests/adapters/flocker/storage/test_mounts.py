"""
What is mounted where, as the kernel tells it.
"""

from __future__ import annotations

from powerstrip_flocker.storage.mounts import Mount, parse_mounts

HOST = "67 44 0:39 / /flocker/a\\040b rw,relatime shared:12 master:3 - fuse.zfs tank rw\n"
CONTAINER = "68 70 0:40 /:datasets/x/:data /data rw,relatime - btrfs /dev/loop0 rw\n"


def test_a_mount_is_read() -> None:
    """
    Spaces in its path are escaped, and what it shares is in a varying number of words.
    """
    assert [
        Mount("67", "0:39", "/", "/flocker/a b", False),
        Mount("68", "0:40", "/:datasets/x/:data", "/data", True),
    ] == parse_mounts(HOST + CONTAINER)


def test_a_part_of_what_is_mounted_shows_it() -> None:
    """
    A container may have a directory of a dataset alone. Another dataset's is none of its.
    """
    whole = Mount("1", "0:40", "/:datasets/x", "/flocker/x", True)
    assert whole.is_shown_by(Mount("2", "0:40", "/:datasets/x/sub", "/data", True))
    assert whole.is_shown_by(Mount("2", "0:40", "/:datasets/x", "/data", True))
    assert not whole.is_shown_by(Mount("2", "0:40", "/:datasets/xy", "/data", True))
    assert not whole.is_shown_by(Mount("2", "0:41", "/:datasets/x", "/data", True))
    assert Mount("1", "0:40", "/", "/x", True).is_shown_by(
        Mount("2", "0:40", "/sub", "/data", True)
    )
