"""
The environment of a container, as the engine makes it.

Sans-I/O: lists of ``NAME=value`` in, values out.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["merged_environment", "value_of"]


def merged_environment(request: Sequence[str], image: Sequence[str]) -> tuple[str, ...]:
    """
    The request's entries, and those of the image whose names the request has not.

    A name alone, with no ``=``, so takes a variable of the image away: moby ``merge`` in
    ``daemon/commit.go``.
    """
    names = {_name(entry) for entry in request}
    return (*request, *(entry for entry in image if _name(entry) not in names))


def value_of(name: str, environment: Sequence[str]) -> str | None:
    """
    The value that a process of the container finds, or None where it finds none.

    Of entries with one name the last counts, and a name alone takes away none of them: so do moby
    (``ReplaceOrAppendEnvValues`` in ``container/env.go``) and runc.
    """
    values = [entry.partition("=")[2] for entry in environment if entry.startswith(f"{name}=")]
    return values[-1] if values else None


def _name(entry: str) -> str:
    return entry.partition("=")[0]
