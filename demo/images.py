"""
The demo's images, made with no registry of what this machine has installed.

I/O: reads programs and their libraries, and sends them to engines. ``demo/images`` has what a
``docker build`` makes of the same.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from demo.engine import EngineError, PrivateEngine, busybox_root

__all__ = ["IMAGES", "import_images"]

PLACE = Path(__file__).with_name("images")

IMAGES: Mapping[str, str] = {"redis": "powerstrip-demo-redis", "server": "powerstrip-demo-server"}
"""What the images are called, by their directories."""

REDIS_PROGRAMS = {"redis-server": "redis-check-rdb", "redis-cli": "redis-cli"}
"""
By their names in the image. Debian's and Ubuntu's redis-server is a link to that other name of the
same program, and lies in a package that would have the machine start it.
"""

CHANGES = re.compile(r"^(?:CMD|ENV|EXPOSE|WORKDIR) .+$", re.MULTILINE)
"""The instructions of a Dockerfile that an import takes as well: Docker's API, ImageCreate."""


def import_images(engine: PrivateEngine) -> None:
    """
    Make all images in an engine; in several engines at once, from threads.

    Raises:
        EngineError: Something is not installed, or the engine has refused.
    """
    for name, root in (("redis", redis_root()), ("server", server_root())):
        engine.import_image(IMAGES[name], root, changes(name))


def changes(name: str) -> list[str]:
    """
    What an image's Dockerfile says of it beside its files.
    """
    return CHANGES.findall((PLACE / name / "Dockerfile").read_text(encoding="utf-8"))


@cache
def redis_root() -> bytes:
    """
    A root file system with this machine's Redis and the libraries it needs, as a tar.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as root:
        libraries: set[str] = set()
        for name, installed in REDIS_PROGRAMS.items():
            program = shutil.which(installed)
            if program is None:
                what = f"not installed: {installed} (scripts/install-redis installs it)"
                raise EngineError(what)
            root.add(program, f"usr/bin/{name}")
            libraries |= _libraries(program)
        for library in sorted(libraries):
            root.add(library, library.lstrip("/"))
    return buffer.getvalue()


@cache
def server_root() -> bytes:
    """
    A root file system with this machine's busybox and the server's scripts, as a tar.
    """
    buffer = io.BytesIO(busybox_root())
    with tarfile.open(fileobj=buffer, mode="a") as root:
        place = PLACE / "server" / "root"
        for path in sorted(place.rglob("*")):
            if not path.is_dir():
                root.add(path, str(path.relative_to(place)))
    return buffer.getvalue()


def _libraries(program: str) -> set[str]:
    """
    The files that the dynamic linker loads for a program, itself among them.
    """
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    # "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)", and "/lib64/ld-linux-x86-64.so.2 (0x…)"
    return set(re.findall(r"(/\S+) \(0x", listed))
