"""
etcd's JSON gateway: several endpoints that are one etcd.

I/O: treq, one connection for each question, with a bound on its time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from OpenSSL.SSL import Error as TlsError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
)
from twisted.web.http_headers import Headers

from powerstrip.net.agents import quiet_pool
from powerstrip.net.collecting import collect
from powerstrip.net.tls import WrongCertificateError
from powerstrip_flocker.errors import LedgerError
from powerstrip_flocker.ledger.etcd_tls import EtcdTls

__all__ = ["AnswerLost", "EtcdGateway", "EtcdRefused", "EtcdUser"]

CONNECT_SECONDS = 2.0
"""How long an endpoint may take to be connected to."""

ANSWER_SECONDS = 4.0
"""How long one may take to answer. Electing a new leader takes one to two: etcd's tuning guide."""

GIVE_UP_SECONDS = 10.0
"""How long all of them may take together."""

INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, FAILED_PRECONDITION, UNAUTHENTICATED = (
    3,
    5,
    7,
    9,
    16,
)

TROUBLE = frozenset({1, 2, 4, 8, 13, 14})
"""
The codes of gRPC that don't say what has become of the question: cancelled, unknown, too late,
exhausted, internal, unavailable. A proposal that etcd gives up waiting for may yet be applied.
"""

STALE_TOKEN = ("invalid auth token", "revision of auth store is old", "auth revision")
"""What etcd says of a token that was good once. Simple tokens end after five idle minutes."""


@frozen
class EtcdUser:
    """
    Who asks.
    """

    name: str
    password: str = field(repr=False)


class EtcdRefused(LedgerError):
    """
    etcd has answered with an error: nothing has been changed.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class AnswerLost(LedgerError):
    """
    What etcd was asked for may have happened, may happen yet, or may never.
    """


class _Unreached(Exception):
    """
    The question has not come to the endpoint.
    """


class _Lost(Exception):
    """
    There was no answer.
    """


class EtcdGateway:
    """
    Asks whichever endpoint answers, the last that did first.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoints: Sequence[str],
        tls: EtcdTls | None = None,
        user: EtcdUser | None = None,
    ) -> None:
        """
        Args:
            endpoints: URLs such as ``https://10.0.0.1:2379``.

        Raises:
            LedgerError: when one is no such URL.
        """
        self._clock = reactor
        self._tls = tls
        self._user = user
        self._endpoints = tuple(_check_url(url, tls) for url in endpoints)
        if not self._endpoints:
            raise LedgerError("there is no endpoint of etcd to ask")
        self._first = 0
        self._token: str | None = None
        # A connection that is kept may turn out to be closed when it is used again, and whether a
        # change has been heard could not be said.
        pool = quiet_pool(reactor, persistent=False)
        more = {} if tls is None else {"contextFactory": tls}
        self._http = HTTPClient(Agent(reactor, connectTimeout=CONNECT_SECONDS, pool=pool, **more))

    async def ask(
        self, method: str, question: Mapping[str, object], *, again: bool
    ) -> Mapping[str, Any]:
        """
        Ask for an answer to a question of ``/v3``.

        Args:
            method: As in ``kv/range``.
            again: Whether it does no harm to ask another endpoint when an answer was lost.

        Raises:
            EtcdRefused: when etcd will not.
            AnswerLost: when it can't be said whether it has; not with `again`.
            LedgerError: when nobody could be asked.
        """
        give_up_at = self._clock.seconds() + GIVE_UP_SECONDS
        reasons = []
        count = len(self._endpoints)
        for index in [(self._first + step) % count for step in range(count)]:
            endpoint = self._endpoints[index]
            limit_seconds = min(ANSWER_SECONDS, give_up_at - self._clock.seconds())
            if limit_seconds <= 0:
                reasons.append(f"{endpoint}: no time was left to ask it")
                continue
            try:
                answer = await self._ask_one(endpoint, method, question, limit_seconds)
            except _Unreached as error:
                reasons.append(f"{endpoint}: {error}")
            except _Lost as error:
                self._first = (index + 1) % count
                if not again:
                    what = "whether the change was made is not known until it is read again"
                    raise AnswerLost(f"etcd at {endpoint}: {error}; {what}") from error
                reasons.append(f"{endpoint}: {error}")
            else:
                self._first = index
                return answer
        raise LedgerError(f"etcd can't be asked who owns what: {'; '.join(reasons)}")

    async def _ask_one(
        self, endpoint: str, method: str, question: Mapping[str, object], limit_seconds: float
    ) -> Mapping[str, Any]:
        if self._user is None:
            return await self._post(endpoint, method, question, limit_seconds)
        if self._token is None:
            await self._log_in(endpoint, self._user, limit_seconds)
        try:
            return await self._post(endpoint, method, question, limit_seconds)
        except EtcdRefused as refusal:
            if not any(words in str(refusal) for words in STALE_TOKEN):
                raise
        await self._log_in(endpoint, self._user, limit_seconds)
        return await self._post(endpoint, method, question, limit_seconds)

    async def _log_in(self, endpoint: str, user: EtcdUser, limit_seconds: float) -> None:
        self._token = None
        question = {"name": user.name, "password": user.password}
        try:
            answer = await self._post(endpoint, "auth/authenticate", question, limit_seconds)
            self._token = str(answer["token"])
        except _Lost as error:
            raise _Unreached(str(error)) from error
        except KeyError as error:
            raise _Unreached("it has let us in without a token") from error

    async def _post(
        self, endpoint: str, method: str, question: Mapping[str, object], limit_seconds: float
    ) -> Mapping[str, Any]:
        exchange = Deferred.fromCoroutine(self._exchange(f"{endpoint}/v3/{method}", question))
        late_at = self._clock.seconds() + limit_seconds
        try:
            status, body = await exchange.addTimeout(limit_seconds, self._clock)
        except (ConnectError, DNSLookupError) as error:
            raise _Unreached(str(error)) from error
        except Exception as error:
            # An agent that is cancelled says that in one way or another: over TLS, in another.
            if self._clock.seconds() >= late_at:
                raise _Lost(f"no answer within {limit_seconds:.2g} s") from error
            raise self._broken_off(error) from error
        return self._read(endpoint, status, body)

    async def _exchange(self, url: str, question: Mapping[str, object]) -> tuple[int, bytes]:
        headers = Headers({"Content-Type": ["application/json"]})
        if self._token is not None:
            headers.addRawHeader("Authorization", self._token)
        response = await self._http.post(
            url,
            data=json.dumps(question).encode("ascii"),
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
        )
        return response.code, await collect(response, may_end_with_connection=False)

    def _broken_off(self, error: Exception) -> _Unreached | _Lost:
        # `twisted.web.client.ResponseFailed` and its kin wrap what has happened.
        failures: list[Failure] = getattr(error, "reasons", [])
        causes = [failure.value for failure in failures] or [error]
        for cause in causes:
            if isinstance(cause, CancelledError):
                raise cause
            if isinstance(cause, WrongCertificateError):
                return _Unreached("its certificate is another host's")
            if isinstance(cause, TlsError) and "certificate verify failed" in str(cause):
                ca = "this system" if self._tls is None else self._tls.ca
                return _Unreached(f"its certificate is not signed by one that {ca} has")
            if isinstance(cause, TlsError):
                return _Lost(f"TLS has failed: {_tls_words(cause)}")
        return _Lost(f"it has hung up: {causes[0]}")

    def _read(self, endpoint: str, status: int, body: bytes) -> Mapping[str, Any]:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if status == 200 and isinstance(answer, dict):
            return answer
        if not isinstance(answer, dict) or type(answer.get("code")) is not int:
            if status == 404:
                sentence = f"etcd at {endpoint} has no /v3: it is older than 3.4, or it is no etcd"
                raise EtcdRefused(NOT_FOUND, sentence)
            words = body[:80].decode("utf-8", "replace").strip()
            if status == 400 and "CommonName" in words:
                # Its gateway would have to take the name for the user's: etcd-io/etcd#10392.
                sentence = f"etcd takes a certificate with a common name from no user: {words}"
                raise EtcdRefused(INVALID_ARGUMENT, sentence)
            raise _Lost(f"it has answered {status}, as etcd does not: {words!r}")
        code, words = answer["code"], str(answer.get("message") or answer.get("error"))
        if code in TROUBLE:
            raise _Lost(words)
        raise EtcdRefused(code, self._explain(words))

    def _explain(self, words: str) -> str:
        name = None if self._user is None else self._user.name
        if "user name is empty" in words or (name is None and "permission denied" in words):
            return f"etcd asks for a user and a password, and none are given: {words}"
        if "invalid user ID or password" in words:
            return f"etcd does not know the user {name} by this password: {words}"
        if "authentication is not enabled" in words:
            return f"the user {name} is given, and etcd has no users: {words}"
        if "permission denied" in words:
            return f"etcd does not let the user {name} read and write the records: {words}"
        return f"etcd refuses: {words}"


def _check_url(url: str, tls: EtcdTls | None) -> str:
    try:
        parts = urlsplit(url)
        port = 2379 if parts.port is None else parts.port
    except ValueError:
        parts = urlsplit("")
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise LedgerError(f"{url} is no endpoint of etcd, such as https://10.0.0.1:2379")
    if parts.username is not None:
        raise LedgerError("the user and the password of etcd don't belong in its URL")
    if tls is not None and parts.scheme == "http":
        raise LedgerError(f"{url} is without TLS, for which there are files")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _tls_words(error: TlsError) -> str:
    # A list of (library, function, reason).
    reasons = [entry[-1] for entry in error.args[0]] if error.args else []
    return ", ".join(map(str, reasons)) or "the connection has ended"
