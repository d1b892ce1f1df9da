"""
What the operator sees: a line for each exchange, and with ``--trace`` what happened within.

I/O: Twisted's log, or a `LineWriter` for the lines of exchanges. No secret is ever in it, and no
query: build arguments stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from powerstrip.core.chain import HookReport
from powerstrip.core.changes import changed_members, redacted_head
from powerstrip.core.payloads import ClientRequest, ServerResponse
from powerstrip.core.quoting import cut, printable
from powerstrip.errors import PowerstripError
from powerstrip.net.turn import Turn

WriteLines = Callable[[Sequence[str]], None]

if TYPE_CHECKING:
    from powerstrip.net.downstream import Downstream
    from powerstrip.net.exchange import Exchange
    from powerstrip.net.hooked import HookedExchange

_MAX_PATH_CHARACTERS = 200

_CACHED_PATHS = 1024

_log = Logger(namespace="powerstrip")


class ExchangeLog:
    """
    Tells of exchanges.
    """

    def __init__(
        self,
        clock: IReactorTime,
        turn: Turn,
        *,
        traces: bool,
        log: Logger = _log,
        write_lines: WriteLines | None = None,
    ) -> None:
        """
        Args:
            turn: Its exchanges' lines are written together.
            write_lines: Writes them past the log, or not, where heads go to the log between them.
        """
        self.traces = traces
        """Whether heads are wanted, too."""

        self._clock = clock
        self._log = log
        self._turn = turn
        self._write_lines = None if traces else write_lines
        self._lines: list[str] = []

    def request_came(self, connection: Downstream, head: bytes) -> None:
        """
        A request's head is in: told where it `traces`.
        """
        self._trace(connection, "->", redacted_head(head))

    def response_came(self, connection: Downstream, head: bytes) -> None:
        """
        The head of the engine's answer is in: told where it `traces`.
        """
        self._trace(connection, "<-", redacted_head(head))

    def hook_ended(self, exchange: HookedExchange, report: HookReport) -> None:
        """
        A hook has ended.
        """
        name = f"{report.kind.value}-hook {report.adapter}"
        for remark in report.remarks:
            self._log.warn(
                "{peer} {hook} {verdict}: {remark}",
                peer=exchange.connection.peer,
                hook=name,
                verdict=report.verdict,
                remark=printable(remark),
            )
        if self.traces:
            lines = [f"{name}: {report.verdict}", *_changes(report)]
            self._trace(exchange.connection, "--", "\n".join(lines))

    def ended(self, exchange: Exchange, connection: Downstream, error: str | None) -> None:
        """
        An exchange has ended, well or not.
        """
        now = self._clock.seconds()
        request, received, sent = exchange.request, exchange.request_body, exchange.response_body
        line = (
            f"{connection.peer} {_shown(request.method, request.target)}"
            f" lane={exchange.lane} status={exchange.status or '-'}"
            f" in={received.payload_bytes if received else 0}"
            f" out={sent.payload_bytes if sent else 0}"
            f" ms={(now - exchange.started) * 1000:.1f}"
        )
        for report in exchange.hook_reports:
            verdict = report.verdict.replace(" ", "-")
            took = f"{report.seconds * 1000:.1f}ms"
            line += f" {report.kind.value}:{report.adapter}={verdict}/{took}"
        if error is not None:
            line += f" error={printable(error)}"
        if self._write_lines is None:
            self._log_line(line)
            return
        if not self._lines:
            self._turn.at_end(self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        """
        Write what has been told so far.
        """
        lines, self._lines = self._lines, []
        if not lines or self._write_lines is None:
            return
        try:
            self._write_lines(lines)
        except OSError:  # the log's own observers know what to do then
            for line in lines:
                self._log_line(line)

    def refused(self, connection: Downstream, error: PowerstripError) -> None:
        """
        What came was not a request.
        """
        self._log.info(
            "{peer} status={status} error={error}",
            peer=connection.peer,
            status=error.status,
            error=printable(str(error)),
        )

    def _log_line(self, line: str) -> None:
        self._log.info("{line}", line=line)

    def _trace(self, connection: Downstream, arrow: str, text: str) -> None:
        lines = "".join(f"\n  {arrow} {line}" for line in text.split("\n"))
        self._log.info("{peer}{lines}", peer=connection.peer, lines=lines)


def _shown(method: str, target: bytes) -> str:
    if len(target) > _MAX_PATH_CHARACTERS:
        return _quoted_request(method, target)
    return _kept_request(method, target)


def _quoted_request(method: str, target: bytes) -> str:
    path = target.partition(b"?")[0].decode("utf-8", "backslashreplace")
    return f'"{method} {printable(cut(path, _MAX_PATH_CHARACTERS))}"'


_kept_request = lru_cache(_CACHED_PATHS)(_quoted_request)


def _changes(report: HookReport) -> list[str]:
    before, after = report.before, report.after
    if after is None:
        return []
    changes = changed_members(before.body, after.body)
    if isinstance(before, ClientRequest) and isinstance(after, ClientRequest):
        if before.request != after.request:
            changes.insert(0, "the query")
    elif isinstance(before, ServerResponse) and isinstance(after, ServerResponse):
        if before.code != after.code:
            changes.insert(0, f"Code: {before.code} -> {after.code}")
        if before.content_type != after.content_type:
            changes.insert(0, f"ContentType: {before.content_type} -> {after.content_type}")
    return changes
