"""
What can go wrong, whose fault it is, and the status that a Docker client is told.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BodyTooLarge",
    "ConfigError",
    "DownstreamProtocolError",
    "HeadTooLarge",
    "HookConnectError",
    "HookError",
    "HookRefused",
    "HookReplyError",
    "HookTimeout",
    "PowerstripError",
    "UpstreamConnectError",
    "UpstreamProtocolError",
]


class PowerstripError(Exception):
    """
    Something that a user is told in one sentence: the text of the exception is that sentence.
    """

    status: int = 500
    """The status of the answer, as long as no response head has been sent."""


class ConfigError(PowerstripError):
    """
    The configuration can't be used.

    Each problem is a sentence that names the file, the line and the key.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class DownstreamProtocolError(PowerstripError):
    """
    The client sent something that is not one clear HTTP/1.1 request.
    """

    status = 400


class BodyTooLarge(DownstreamProtocolError):
    """
    A request's body must be shown to a hook and is over the bound.
    """

    status = 413


class HeadTooLarge(DownstreamProtocolError):
    """
    A request's head is over the bound.
    """

    status = 431


class UpstreamConnectError(PowerstripError):
    """
    The engine can't be reached.
    """

    status = 502


class UpstreamProtocolError(PowerstripError):
    """
    The engine closed without an answer, or what it sent is not an HTTP response.
    """

    status = 502


class HookError(PowerstripError):
    """
    An adapter did not do its part of a hook.

    The sentence names the adapter and its URL: ``adapter weave (http://weave/extension) …``.
    """

    status = 502

    def __init__(self, adapter: str, url: str, what: str) -> None:
        super().__init__(f"adapter {adapter} ({url}) {what}")
        self.adapter = adapter


class HookConnectError(HookError):
    """
    The adapter can't be reached, or the connection broke before its reply was in.
    """


class HookReplyError(HookError):
    """
    The adapter's reply is not what the hook protocol says.
    """


class HookTimeout(HookError):
    """
    The adapter did not reply in time.
    """

    status = 504


class HookRefused(HookError):
    """
    The adapter answered with an HTTP error, which ends the chain.

    The client is given the adapter's own status and body.
    """

    def __init__(
        self, adapter: str, url: str, status: int, content_type: str | None, body: bytes
    ) -> None:
        super().__init__(adapter, url, f"refused with status {status}")
        self.status = status
        self.content_type = content_type
        self.body = body
