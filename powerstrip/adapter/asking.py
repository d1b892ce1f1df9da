"""
How an adapter's own command asks it, where it listens.

I/O: one connection for each question, which blocks: a command has nothing else to do.
"""

from __future__ import annotations

import argparse
import http.client
import json
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from powerstrip.core.addresses import TcpAddress, UnixAddress, parse_address
from powerstrip.errors import ConfigError

__all__ = ["AskedAdapter", "CommandError", "Question", "at_option"]


class CommandError(Exception):
    """
    The command can't be done; the text is a sentence for the user.
    """


def at_option(default: str) -> argparse.ArgumentParser:
    """
    The option ``--at``, to be a parent of a command and of all below it: so it may be said before
    the command and behind it. Its default is for the namespace that is given to ``parse_args``;
    here it would undo what was said before.

    Args:
        default: Is told, and no more.
    """
    at = argparse.ArgumentParser(add_help=False)
    what = "where the adapter listens: its own --listen"
    at.add_argument(
        "--at", metavar="ADDRESS", default=argparse.SUPPRESS, help=f"{what} [default: {default}]"
    )
    return at


class AskedAdapter:
    """
    An adapter, as its command asks it.
    """

    def __init__(self, name: str, at: str, answer_seconds: float) -> None:
        """
        Args:
            name: Stands before its refusals, and is left out of what the user is told.
            at: Where it listens, as ``--at`` says it.
            answer_seconds: How long it may take to answer.

        Raises:
            CommandError: It can't listen there.
        """
        try:
            address = parse_address(at, "--at")
        except ConfigError as error:
            raise CommandError(str(error)) from None
        if not isinstance(address, TcpAddress | UnixAddress):
            raise CommandError(f"--at {address}: must be tcp://HOST:PORT or unix:///PATH")
        self.at = address
        self.name = name
        self.answer_seconds = answer_seconds

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """
        What the adapter answers.

        Raises:
            CommandError: with its words, where it refuses.
        """
        question = self.begin(method, path, body)
        try:
            return question.answer()
        finally:
            question.close()

    def begin(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Question:
        """
        Ask, and do something else until there is an answer.

        Raises:
            CommandError: It can't be reached.
        """
        question = Question(self)
        try:
            question.send(method, path, body)
        except CommandError:
            question.close()
            raise
        return question


class Question:
    """
    What the adapter has been asked.
    """

    def __init__(self, adapter: AskedAdapter) -> None:
        self._adapter = adapter
        self._connection = _Connection(adapter.at, adapter.answer_seconds)

    def send(self, method: str, path: str, body: Mapping[str, object] | None) -> None:
        """
        Send it, once.
        """
        # JSON also where there is no body: a browser can't be made to send that to another site.
        headers = {"Content-Type": "application/json"}
        with self._told():
            self._connection.request(
                method, path, None if body is None else json.dumps(body), headers
            )

    def is_answered(self, within_seconds: float) -> bool:
        """
        Whether the answer is coming, or never will. Waits for that for a while.
        """
        return bool(select.select([self._connection.sock], [], [], within_seconds)[0])

    def answer(self) -> dict[str, Any]:
        """
        See `AskedAdapter.ask`.
        """
        with self._told():
            response = self._connection.getresponse()
            answer = json.loads(response.read())
            if not isinstance(answer, dict):
                raise ValueError("an adapter answers with an object")
        if response.status != 200:
            sentence = str(answer.get("message", response.reason))
            raise CommandError(sentence.removeprefix(f"{self._adapter.name}: "))
        return answer

    def close(self) -> None:
        """
        Hang up.
        """
        self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """
        Make a sentence of what goes wrong.
        """
        at = self._adapter.at
        try:
            yield
        except TimeoutError:
            what = f"does not answer within {self._adapter.answer_seconds:g} s"
            raise CommandError(f"the adapter at {at} {what}") from None
        except OSError as error:
            what = error.strerror or str(error)
            raise CommandError(f"the adapter at {at} can't be reached: {what}") from None
        except (http.client.HTTPException, ValueError):
            raise CommandError(f"what answers at {at} is not the adapter") from None


class _Connection(http.client.HTTPConnection):
    """
    A connection to an adapter, wherever it listens.
    """

    def __init__(self, address: TcpAddress | UnixAddress, answer_seconds: float) -> None:
        super().__init__("adapter", timeout=answer_seconds)
        self._address = address

    def connect(self) -> None:
        """
        Connect, by a UNIX socket or by TCP.
        """
        if isinstance(self._address, UnixAddress):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address.path)
        else:
            host = self._address.host or "localhost"
            self.sock = socket.create_connection((host, self._address.port), self.timeout)
