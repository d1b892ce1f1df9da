"""
Bytes and seconds as people read them.

Sans-I/O: numbers in, text out.
"""

from __future__ import annotations

__all__ = ["ago_text", "rate_text", "size_text", "time_text"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size_bytes: float) -> str:
    """
    A size of 8 characters at most, such as ``12.3 GiB`` or ``512 B``.
    """
    power = 0
    while size_bytes >= 1024 and power < len(_UNITS) - 1:
        size_bytes /= 1024
        power += 1
    digits = 1 if power > 0 and size_bytes < 99.95 else 0
    return f"{size_bytes:.{digits}f} {_UNITS[power]}"


def rate_text(bytes_per_second: float) -> str:
    """
    A rate, such as ``36.4 MiB/s``.
    """
    return f"{size_text(bytes_per_second)}/s"


def time_text(seconds: float) -> str:
    """
    A length of time as a clock shows it, such as ``0:35`` or ``1:02:03``.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ago_text(seconds: float) -> str:
    """
    How long ago something was, about.
    """
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{max(0, seconds):.0f} s ago"
