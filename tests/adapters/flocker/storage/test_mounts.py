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
        Mount("67", "0:39", "/", "/flocker/a b", False, "fuse.zfs tank"),
        Mount("68", "0:40", "/:datasets/x/:data", "/data", True, "btrfs /dev/loop0"),
    ] == parse_mounts(HOST + CONTAINER)


def test_a_part_of_what_is_mounted_shows_it() -> None:
    """
    A container may have a directory of a dataset alone. Another dataset's is none of its.
    """

    def mount(root: str, device: str = "0:40", source: str = "btrfs /dev/loop0") -> Mount:
        return Mount("1", device, root, "/data", True, source)

    whole = mount("/:datasets/x")
    assert whole.is_shown_by(mount("/:datasets/x/sub"))
    assert whole.is_shown_by(mount("/:datasets/x"))
    assert not whole.is_shown_by(mount("/:datasets/xy"))
    assert not whole.is_shown_by(mount("/:datasets/x", device="0:41"))
    assert mount("/").is_shown_by(mount("/sub"))


def test_another_file_system_may_have_the_number_of_one_that_was_unmounted() -> None:
    """
    The kernel gives it again at once, to whatever is mounted next: an engine's overlay, say.
    """
    unmounted = Mount("1", "0:40", "/", "/flocker/x", True, "fuse.zfs tank/x")
    overlay = Mount("2", "0:40", "/", "/var/lib/docker/overlay2/1/merged", True, "overlay overlay")
    assert not unmounted.is_shown_by(overlay)
