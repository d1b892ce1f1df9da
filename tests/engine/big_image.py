"""
Image archives of any size, made while they are read.

Sans-I/O: pieces of bytes come out, zeros for the most part.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator

BLOCK = 1 << 20
ZEROS = bytes(BLOCK)
PADDING_FILE = 64 * BLOCK
END = bytes(1024)


def image_archive(tag: str, root: bytes, big: int) -> Iterator[bytes]:
    """
    What ``docker load`` takes: an image of a root's tar and a layer with one file of zeros.

    Args:
        big: The size of the file ``/big``, in bytes.
    """
    layers: list[Callable[[], Iterable[bytes]]] = [lambda: [root], lambda: _big_layer(big)]
    diff_ids = []
    for number, layer in enumerate(layers):
        digest, length = hashlib.sha256(), 0
        for piece in layer():
            digest.update(piece)
            length += len(piece)
        diff_ids.append(f"sha256:{digest.hexdigest()}")
        yield from _file(f"{number}.tar", length, layer())
    yield from _description(tag, diff_ids)


def padded_archive(tag: str, root: bytes, padding: int) -> Iterator[bytes]:
    """
    An image that ``docker load`` takes after at least this many bytes that it does not need.

    They are one file over and over again, so that no more of them lies on the
    engine's disk at one time than one of its copies.
    """
    for _ in range(-(-padding // PADDING_FILE)):
        yield from _file("padding", PADDING_FILE, _zeros(PADDING_FILE))
    yield from image_archive(tag, root, 0)


def _big_layer(size: int) -> Iterator[bytes]:
    yield from _file("big", size, _zeros(size))
    yield END


def _description(tag: str, diff_ids: list[str]) -> Iterator[bytes]:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    layers = [f"{number}.tar" for number in range(len(diff_ids))]
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": layers}]
    for name, value in (("config.json", config), ("manifest.json", manifest)):
        data = json.dumps(value).encode()
        yield from _file(name, len(data), [data])
    yield END


def _file(name: str, size: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    yield entry.tobuf(tarfile.GNU_FORMAT)
    yield from pieces
    yield bytes(-size % 512)


def _zeros(size: int) -> Iterator[bytes]:
    for start in range(0, size, BLOCK):
        yield ZEROS[: size - start]
