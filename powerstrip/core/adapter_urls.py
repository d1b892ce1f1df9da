"""
Where an adapter is: ``http://weave/extension``, or the same over a UNIX socket.

Sans-I/O: text in, the parts of a URL out.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import unquote_to_bytes

from attrs import frozen

MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` has 108 bytes, the last of them a NUL: unix(7)."""

_FORMS = "http://HOST[:PORT]/PATH, https://… or http+unix://%2FPATH%2FTO%2FSOCKET/PATH"

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)

_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
"""With ``_``, which host names do not have, but the names of containers and Compose services."""


@frozen
class AdapterUrl:
    """
    The parts of an adapter's URL that a client needs to call it.
    """

    tls: bool
    host: str
    """A name or an address, without the brackets of IPv6; ``localhost`` over a UNIX socket."""

    port: int
    target: str
    """Path and query, as they go into the request line."""

    socket_path: str | None = None
    """The UNIX socket to call it over, instead of ``host`` and ``port``."""

    display_url: str = ""
    """The URL as a sentence or a log may show it: without its query, which may hold a secret."""

    @property
    def authority(self) -> str:
        """
        The value of the ``Host`` header.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> AdapterUrl:
        """
        Reads a URL as it stands in the configuration.

        Raises:
            ValueError: No adapter can be called there. The sentence shows no part of the URL that
                may hold a password.
        """
        found = _URL.fullmatch(text)
        if found is None:
            raise ValueError(f"the URL must be {_FORMS}")
        if not re.fullmatch(r"[!-~]+", text):
            raise ValueError("the URL must be ASCII without spaces: percent-encode all else")
        if "@" in found["authority"]:
            raise ValueError("the URL can't hold a user name or a password")
        if found["fragment"]:
            raise ValueError("the URL can't hold a fragment (#…)")
        scheme = found["scheme"].lower()
        if scheme in ("http", "https"):
            return cls._over_tcp(scheme, found)
        if scheme == "http+unix":
            return cls._over_unix(found)
        raise ValueError(f"the URL must be {_FORMS}")

    @classmethod
    def _over_tcp(cls, scheme: str, found: re.Match[str]) -> AdapterUrl:
        host, port = _split(found["authority"])
        tls = scheme == "https"
        if tls and "_" in host:
            raise ValueError("the URL's host can't have a _ with https: no certificate is for it")
        return cls(
            tls=tls,
            host=_host(host),
            port=(443 if tls else 80) if port is None else _port(port),
            target=_target(found),
            display_url=_display_url(found),
        )

    @classmethod
    def _over_unix(cls, found: re.Match[str]) -> AdapterUrl:
        """
        The form of requests-unixsocket: the path of the socket, percent-encoded, as the host.
        """
        path = unquote_to_bytes(found["authority"])
        if not path.startswith(b"/"):
            raise ValueError(
                "the socket's absolute path must stand percent-encoded in the place of the host, "
                "as in http+unix://%2Frun%2Fweave.sock/extension"
            )
        if b"\0" in path or len(path) > MAX_SOCKET_PATH_BYTES:
            raise ValueError(f"the socket's path must have 1 to {MAX_SOCKET_PATH_BYTES} bytes")
        return cls(
            tls=False,
            host="localhost",
            port=80,
            target=_target(found),
            socket_path=path.decode("utf-8", "surrogateescape"),
            display_url=_display_url(found),
        )


def _split(authority: str) -> tuple[str, str | None]:
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return authority, None
    return host, port


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError("the URL has no IPv6 address between its brackets") from None
    if not _HOST_NAME.fullmatch(text):
        raise ValueError("the URL has no good host in it")
    return text


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError("the URL's port must be a number from 1 to 65535")
    return int(text)


def _target(found: re.Match[str]) -> str:
    return (found["path"] or "/") + (found["query"] or "")


def _display_url(found: re.Match[str]) -> str:
    query = "?…" if found["query"] else ""
    return f"{found['scheme'].lower()}://{found['authority']}{found['path'] or '/'}{query}"
