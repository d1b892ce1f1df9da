"""
Questions to Flocker's control service over HTTPS, and its answers.

I/O: treq, one connection for each question, with a bound on its time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from cryptography import x509
from OpenSSL.SSL import Error as TlsError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from powerstrip.net.agents import quiet_pool
from powerstrip.net.collecting import collect
from powerstrip.net.tls import CheckedTls
from powerstrip_flocker.errors import LedgerError
from powerstrip_flocker.peers.tls import names_in
from powerstrip_flocker.pem import PemError, read_authorities, read_own

__all__ = [
    "CONTROL_SERVICE",
    "Answer",
    "ControlAnswerLost",
    "ControlRefused",
    "ControlServiceError",
    "ControlTls",
    "Exchange",
    "check_url",
]

CONTROL_SERVICE = "control-service"
"""
The name that the certificate of each control service has as an alternative name of its subject.
Flocker's own clients look for this one, whatever the address is that they connect to: no other
certificate that ``flocker-ca`` makes has it.
"""

PORT = 4523
"""Where a control service's REST API is: Flocker's guide to authentication."""

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0

TAG = "X-Configuration-Tag"
IF_TAG = "X-If-Configuration-Matches"
"""Conditional requests of Flocker's REST API, since Flocker 1.9."""


class ControlServiceError(LedgerError):
    """
    The control service can't be asked, or what it says is not its API's.
    """


class ControlAnswerLost(ControlServiceError):
    """
    What it was asked for may have happened, or may never.
    """


class ControlRefused(ControlServiceError):
    """
    It has answered with an error: nothing has been changed.
    """

    def __init__(self, status: int, described: bool, sentence: str) -> None:
        """
        Args:
            described: Whether the error was its own. One that has no such endpoint, because it is
                an older Flocker's, answers 404 with no description.
        """
        super().__init__(sentence)
        self.status = status
        self.described = described


@frozen
class Answer:
    """
    What was answered, when it was no error.
    """

    value: Any
    """Its JSON, read."""

    tag: str | None
    """The version of the configuration that it is of, where it says that."""


@implementer(IPolicyForHTTPS)
@frozen
class ControlTls:
    """
    Checks that one speaks to a cluster's control service, under whatever address.
    """

    _authorities: tuple[Certificate, ...]
    _own: PrivateCertificate | None

    @classmethod
    def load(cls, ca: Path, cert: Path, key: Path) -> ControlTls:
        """
        Read the files that ``flocker-ca`` makes.

        Args:
            ca: ``cluster.crt``, the cluster's own.
            cert: ``NAME.crt``, as ``flocker-ca create-api-certificate NAME`` makes it.
            key: ``NAME.key``.

        Raises:
            ControlServiceError: when they can't be read or don't fit together.
        """
        try:
            return cls(read_authorities(ca), read_own(cert, key))
        except PemError as error:
            raise ControlServiceError(str(error)) from error

    # IPolicyForHTTPS

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        name = CONTROL_SERVICE.encode("ascii")
        return CheckedTls.make(_is_control_service, self._authorities, self._own, name)


class Exchange:
    """
    Asks one control service.
    """

    def __init__(self, clock: IReactorTime, base_url: str, http: HTTPClient) -> None:
        """
        Args:
            base_url: As in ``https://control:4523/v1``.

        Raises:
            ControlServiceError: when it is no such URL.
        """
        self._clock = clock
        self._base_url = check_url(base_url)
        self._http = http

    @classmethod
    def over_tls(cls, reactor: Any, base_url: str, policy: IPolicyForHTTPS) -> Exchange:
        """
        Ask over connections of one's own.

        Args:
            policy: Usually a `ControlTls`.
        """
        # A connection that is kept may turn out to be closed when it is used again, and whether a
        # change has been heard could not be said.
        pool = quiet_pool(reactor, persistent=False)
        agent = Agent(reactor, policy, connectTimeout=CONNECT_SECONDS, pool=pool)
        return cls(reactor, base_url, HTTPClient(agent))

    async def ask(
        self, method: str, path: str, question: object = None, tag: str | None = None
    ) -> Answer:
        """
        Ask for something below ``/v1``.

        Args:
            path: As in ``/state/nodes``.
            question: Is sent as JSON, where it is not None.
            tag: The configuration that a change is to be made to, and to no other.

        Raises:
            ControlRefused: when it will not.
            ControlAnswerLost: when it can't be said whether it has.
            ControlServiceError: when it could not be asked.
        """
        exchange = Deferred.fromCoroutine(self._exchange(method, path, question, tag))
        late_at = self._clock.seconds() + ANSWER_SECONDS
        try:
            status, found_tag, body = await exchange.addTimeout(ANSWER_SECONDS, self._clock)
        except (ConnectError, DNSLookupError) as error:
            raise self._unreached(str(error)) from error
        except Exception as error:
            # An agent that is cancelled says that in one way or another.
            if self._clock.seconds() >= late_at or isinstance(error, DeferredTimeoutError):
                raise self._lost(f"no answer within {ANSWER_SECONDS:g} s") from error
            raise self._broken_off(error) from error
        return Answer(self._read(status, body), found_tag)

    async def _exchange(
        self, method: str, path: str, question: object, tag: str | None
    ) -> tuple[int, str | None, bytes]:
        headers = Headers()
        data = None
        if question is not None:
            headers.addRawHeader("Content-Type", "application/json")
            data = json.dumps(question).encode("ascii")
        if tag is not None:
            headers.addRawHeader(IF_TAG, tag)
        response = await self._http.request(
            method,
            self._base_url + path,
            data=data,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
        )
        found_tag = response.headers.getRawHeaders(TAG, [None])[0]
        return response.code, found_tag, await collect(response, may_end_with_connection=False)

    def _read(self, status: int, body: bytes) -> Any:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if 200 <= status < 300 and value is not None:
            return value
        described = isinstance(value, dict) and isinstance(value.get("description"), str)
        if not described and (status >= 500 or status < 300):
            # It says so when it has failed in the middle of something.
            words = body[:80].decode("utf-8", "replace").strip()
            raise self._lost(f"it has answered {status}: {words!r}")
        if described:
            errors = value.get("errors") if isinstance(value, dict) else None
            more = f" ({'; '.join(map(str, errors))})" if isinstance(errors, list) else ""
            words = f"{value['description']}{more}"
        else:
            words = f"it answers {status} and says no more"
        sentence = f"Flocker's control service refuses: {words}"
        raise ControlRefused(status, described, sentence)

    def _broken_off(self, error: Exception) -> Exception:
        # `twisted.web.client.ResponseFailed` and its kin wrap what has happened.
        failures: list[Failure] = getattr(error, "reasons", [])
        for cause in [failure.value for failure in failures] or [error]:
            if isinstance(cause, CancelledError):
                return cause
            if isinstance(cause, TlsError) and "certificate verify failed" in str(cause):
                words = "its certificate is not that of a control service of this cluster"
                return self._unreached(words)
            if isinstance(cause, TlsError):
                # By TLS 1.3 a client is told only when it reads that its certificate is no good:
                # RFC 8446, section 4.4.2.4.
                return self._unreached(f"TLS has failed: {_tls_words(cause)}")
        return self._lost(f"it has hung up: {error}")

    def _unreached(self, words: str) -> ControlServiceError:
        return ControlServiceError(f"Flocker's control service can't be asked: {words}")

    def _lost(self, words: str) -> ControlAnswerLost:
        return ControlAnswerLost(f"Flocker's control service has not answered: {words}")


def _is_control_service(shown: x509.Certificate) -> bool:
    return CONTROL_SERVICE in names_in(shown)


def check_url(url: str) -> str:
    """
    What is asked, by the URL that the operator gives: with a port and a path.

    Raises:
        ControlServiceError: when it is no URL of a control service.
    """
    wrong = ControlServiceError(
        f"{url} is no URL of Flocker's control service, such as https://control:{PORT}/v1"
    )
    try:
        parts = urlsplit(url)
        port = PORT if parts.port is None else parts.port
    except ValueError:
        raise wrong from None
    path = parts.path.rstrip("/") or "/v1"
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
        raise wrong
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}:{port}{path}"


def _tls_words(error: TlsError) -> str:
    # A list of (library, function, reason).
    reasons = [entry[-1] for entry in error.args[0]] if error.args else []
    return ", ".join(map(str, reasons)) or "the connection has ended"
