"""
The seams: what the parts promise each other where a fake or another driver can stand in.
"""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Attribute, Interface

from powerstrip.core.config import Adapter
from powerstrip.errors import PowerstripError


class IHookClient(Interface):
    """
    Calls adapters.
    """

    def call(adapter: Adapter, payload: bytes) -> Awaitable[bytes]:
        """
        Send an adapter its payload.

        Cancelling the call ends the connection it runs on.

        Returns:
            The body of the adapter's answer.

        Raises:
            HookError: when there is none: one of its subclasses says why.
        """


class IStreamOwner(Interface):
    """
    Is told what happens on a stream. Bytes come only while the stream is reading.
    """

    def received(data: bytes) -> None:
        """
        Bytes came.
        """

    def read_ended() -> None:
        """
        No more bytes will come: the peer has half-closed, or closed. Told once.
        """

    def read_failed(reason: OSError) -> None:
        """
        No more bytes will come, since the connection broke. Told once, instead of `read_ended`.
        """

    def write_failed() -> None:
        """
        What is written from now on is lost, since the peer takes no more. Told once.
        """


class IFeeder(Interface):
    """
    Writes to a stream, and waits when the stream can't take more.
    """

    def sink_drained() -> None:
        """
        All that was written has gone out.
        """


class IExchange(Interface):
    """
    One request and its response, from the head of the one to the end of the other, in its lane.

    Each event may end the exchange, whereupon it says so to its connection.
    """

    error = Attribute("What ended the exchange early (a `PowerstripError`), or None.")

    def downstream_ended() -> None:
        """
        The client sends no more: it has half-closed, or gone.
        """

    def upstream_ended() -> None:
        """
        The engine sends no more.
        """

    def upstream_write_failed() -> None:
        """
        The engine takes no more of the request. Its answer may still come.
        """

    def abandon() -> None:
        """
        The connection is going away: nothing more can be told to the client.
        """

    def fail(error: PowerstripError) -> None:
        """
        End the exchange with an error.
        """
