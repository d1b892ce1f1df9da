"""
The seams: what the parts promise each other where a fake or another driver can stand in.
"""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from powerstrip.core.config import Adapter


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

    def paused() -> None:
        """
        A splice has stopped reading, since its sink takes no more.
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
