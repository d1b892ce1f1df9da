"""
How a command asks an adapter, beyond what the commands' own tests show.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from powerstrip.adapter.asking import AskedAdapter, CommandError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"


@pytest.fixture
def listener(short_tmp: Path) -> Iterator[socket.socket]:
    """
    Where an adapter listens that does what the test does.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short_tmp}/a.sock")
        listener.listen()
        yield listener


def asked(listener: socket.socket, seconds: float = 30) -> AskedAdapter:
    return AskedAdapter("weave", f"unix://{listener.getsockname()}", seconds)


def test_a_command_does_something_else_meanwhile(listener: socket.socket) -> None:
    """
    There is no answer until the adapter gives one.
    """
    question = asked(listener).begin("POST", "/move", {"to": "n2"})
    served, _ = listener.accept()
    with served:
        assert not question.is_answered(0.01)
        served.recv(65536)
        served.sendall(OK + b'{"name":"data"}')
        assert question.is_answered(30)
        assert question.answer() == {"name": "data"}
    question.close()


def test_an_adapter_that_has_died_has_answered(listener: socket.socket) -> None:
    """
    Nobody waits for it any more, and the reason is told.
    """
    question = asked(listener).begin("POST", "/move", {"to": "n2"})
    served, _ = listener.accept()
    served.close()
    assert question.is_answered(30)
    with pytest.raises(CommandError, match="can't be reached"):
        question.answer()
    question.close()


def test_an_adapter_that_does_not_answer_is_given_up(listener: socket.socket) -> None:
    """
    After the seconds that it has.
    """
    with pytest.raises(CommandError) as told:
        asked(listener, 0.05).ask("GET", "/status")
    path = listener.getsockname()
    assert str(told.value) == f"the adapter at unix://{path} does not answer within 0.05 s"


def test_json_that_is_no_object_is_of_somebody_else(listener: socket.socket) -> None:
    """
    Adapters answer with objects.
    """
    question = asked(listener).begin("GET", "/status")
    served, _ = listener.accept()
    with served:
        served.recv(65536)
        served.sendall(OK + b"[1,2,3,4,5,6,7]")
        with pytest.raises(CommandError, match="is not the adapter"):
            question.answer()
    question.close()
