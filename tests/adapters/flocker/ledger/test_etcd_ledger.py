"""
A ledger in a real etcd: the contract, and what it says when etcd is lost.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from powerstrip_flocker.datasets.record import encode
from powerstrip_flocker.errors import ConflictError, LedgerError
from powerstrip_flocker.interfaces import ILedger
from powerstrip_flocker.ledger.etcd import EtcdLedger
from powerstrip_flocker.ledger.etcd_gateway import AnswerLost, EtcdGateway, EtcdUser
from powerstrip_flocker.ledger.etcd_tls import EtcdTls
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from tests.adapters.flocker.ledger.contract import A, SharedLedgerContract
from tests.adapters.flocker.ledger.etcd_server import EtcdServer, Keys, make_keys, start_etcd

# Twisted's own, of a certificate that it shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

MOVED = evolve(A, owner="node2", generation=2)
PASSWORD = 'p"\u00e4ss'
SECONDS = 12.0
"""What a sentence may take: etcd's own patience is no bound."""


class BadLine(EtcdGateway):
    """
    A way to etcd that loses what a test has it lose.
    """

    is_cut = False
    """Whether nothing comes through."""

    is_late = False
    """Whether changes are held back, while their answers are given up."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: list[Mapping[str, object]] = []

    async def ask(
        self, method: str, question: Mapping[str, object], *, again: bool
    ) -> Mapping[str, Any]:
        if self.is_cut:
            raise LedgerError("the cable is out")
        if self.is_late and not again:
            self.held.append(question)
            raise AnswerLost("no answer")
        return await super().ask(method, question, again=again)

    async def deliver(self) -> list[bool]:
        """
        Let go what was held back, and tell of each whether it has changed something.
        """
        answers = [await super(BadLine, self).ask("kv/txn", it, again=False) for it in self.held]
        return [answer.get("succeeded", False) for answer in answers]


@define
class EtcdHost:
    """
    An etcd, and ledgers of it.
    """

    reactor: Any
    server: EtcdServer
    arguments: tuple[Any, ...] = ()
    """Of the gateway, beyond the endpoints."""

    claim_seconds: int = 10
    opened: list[EtcdLedger] = field(factory=list)
    lines: list[BadLine] = field(factory=list)

    @property
    def ledger(self) -> ILedger:
        """
        The first that was opened.
        """
        return self.opened[0]

    async def open(self) -> EtcdLedger:
        line = BadLine(self.reactor, self.server.endpoints, *self.arguments)
        ledger = EtcdLedger(self.reactor, line, self.claim_seconds)
        await ledger.start()
        self.lines.append(line)
        self.opened.append(ledger)
        return ledger

    async def stop(self) -> None:
        for ledger in self.opened:
            await ledger.stop()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """
    What etcd and its clients show each other.
    """
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def plain_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """
    An etcd that lets everybody in.
    """
    server = start_etcd(tmp_path_factory.mktemp("etcd"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def closed_etcd(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[EtcdServer]:
    """
    An etcd that asks for a certificate and a password.
    """
    server = start_etcd(tmp_path_factory.mktemp("etcd"), keys=keys)
    try:
        server.add_user(PASSWORD)
        yield server
    finally:
        server.stop()


@pytest_twisted.async_yield_fixture
async def host(plain_etcd: EtcdServer, reactor: Any) -> AsyncIterator[EtcdHost]:
    """
    A ledger that has been started on an empty etcd. Its claims end after two seconds.
    """
    plain_etcd.clear()
    host = EtcdHost(reactor, plain_etcd, claim_seconds=2)
    await host.open()
    yield host
    await host.stop()


class TestEtcdLedger(SharedLedgerContract):
    """
    The contract.
    """


class TestEtcdLedgerWithTlsAndPassword(SharedLedgerContract):
    """
    The contract, where etcd lets in only whom it knows.
    """

    @pytest_twisted.async_yield_fixture
    async def host(
        self, closed_etcd: EtcdServer, keys: Keys, reactor: Any
    ) -> AsyncIterator[EtcdHost]:
        closed_etcd.clear()
        tls = EtcdTls.load(keys.ca, keys.cert, keys.key)
        host = EtcdHost(reactor, closed_etcd, (tls, EtcdUser("root", PASSWORD)))
        await host.open()
        yield host
        await host.stop()


def wait(host: EtcdHost, seconds: float) -> Any:
    return deferLater(host.reactor, seconds, lambda: None)


async def sentence_of(asking: Any) -> str:
    """
    What is said when something fails, within the time that it may take.
    """
    began = time.monotonic()
    with pytest.raises(LedgerError) as raised:
        await asking
    assert time.monotonic() - began < SECONDS
    return str(raised.value)


async def starting(reactor: Any, *arguments: Any) -> None:
    ledger = EtcdLedger(reactor, EtcdGateway(reactor, *arguments))
    try:
        await ledger.start()
    finally:
        await ledger.stop()


@pytest_twisted.ensureDeferred
async def test_a_claim_is_kept_until_its_line_is_cut(host: EtcdHost) -> None:
    """
    Then its lease expires, and it can't be committed any more.
    """
    other = await host.open()
    entry = await host.ledger.create(A)
    claim = await host.ledger.claim(entry, "node2")
    await wait(host, 4.5)
    assert await other.claim_of("test1") == claim
    host.lines[0].is_cut = True
    give_up_at = time.monotonic() + 10
    while await other.claim_of("test1") is not None and time.monotonic() < give_up_at:
        await wait(host, 0.1)
    host.lines[0].is_cut = False
    with pytest.raises(ConflictError, match="the move of test1 to node2 took too long"):
        await host.ledger.commit(claim, entry, MOVED)
    assert await other.get("test1") == entry
    await other.claim(entry, "node3")


@pytest_twisted.ensureDeferred
async def test_a_late_commit_is_too_late_once_it_was_looked_for(host: EtcdHost) -> None:
    """
    What `get` has said stays true, and the move can be committed after it.
    """
    entry = await host.ledger.create(A)
    claim = await host.ledger.claim(entry, "node2")
    host.lines[0].is_late = True
    assert await sentence_of(host.ledger.commit(claim, entry, MOVED)) == "no answer"
    host.lines[0].is_late = False
    found = await host.ledger.get("test1")
    assert found is not None
    assert found.record == A
    assert await host.lines[0].deliver() == [False]
    assert await host.ledger.get("test1") == found
    assert (await host.ledger.commit(claim, found, MOVED)).record == MOVED


@pytest_twisted.ensureDeferred
async def test_a_late_commit_that_came_is_seen(host: EtcdHost) -> None:
    """
    It has been made, though its answer was lost, and the claim has ended with it.
    """
    entry = await host.ledger.create(A)
    claim = await host.ledger.claim(entry, "node2")
    host.lines[0].is_late = True
    await sentence_of(host.ledger.commit(claim, entry, MOVED))
    assert await host.lines[0].deliver() == [True]
    host.lines[0].is_late = False
    found = await host.ledger.get("test1")
    assert found is not None
    assert found.record == MOVED
    assert [it.record for it in await host.ledger.all()] == [MOVED]
    assert await host.ledger.claim_of("test1") is None


@pytest_twisted.ensureDeferred
async def test_a_late_commit_fails_once_its_claim_is_released(host: EtcdHost) -> None:
    """
    Another node that finds no claim finds what stays.
    """
    other = await host.open()
    entry = await host.ledger.create(A)
    claim = await host.ledger.claim(entry, "node2")
    host.lines[0].is_late = True
    await sentence_of(host.ledger.commit(claim, entry, MOVED))
    await host.ledger.release(claim)
    assert await other.claim_of("test1") is None
    host.lines[0].is_late = False
    assert await host.lines[0].deliver() == [False]
    assert await other.get("test1") == entry


@pytest_twisted.ensureDeferred
async def test_a_commit_that_nobody_waits_for_is_in_doubt(host: EtcdHost) -> None:
    """
    Asked for, `get` tells for good what has come of it.
    """
    entry = await host.ledger.create(A)
    claim = await host.ledger.claim(entry, "node2")
    committing = Deferred.fromCoroutine(host.ledger.commit(claim, entry, MOVED))
    await wait(host, 0)
    committing.cancel()
    with pytest.raises((CancelledError, LedgerError)):
        await committing
    found = await host.ledger.get("test1")
    await wait(host, 0.5)
    assert await host.ledger.get("test1") == found


@pytest_twisted.ensureDeferred
async def test_a_claim_in_doubt_is_kept_by_nobody(host: EtcdHost) -> None:
    """
    One that comes late finds no lease.
    """
    entry = await host.ledger.create(A)
    host.lines[0].is_late = True
    await sentence_of(host.ledger.claim(entry, "node2"))
    host.lines[0].is_late = False
    await wait(host, 0.5)
    assert "lease not found" in await sentence_of(host.lines[0].deliver())
    await host.ledger.claim(entry, "node3")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"\xff\x00\xfe", "the record /powerstrip/flocker/datasets/test1 in etcd can't be under"),
        (b"", "can't be understood: it is not JSON"),
        (encode(evolve(A, name="test2")), "the record .*/test1 in etcd is that of test2"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_strange_record_is_not_guessed_at(
    host: EtcdHost, value: bytes, sentence: str
) -> None:
    """
    Its key is named, and other records can be read.
    """
    host.server.put("/powerstrip/flocker/datasets/test1", value)
    with pytest.raises(LedgerError, match=sentence):
        await host.ledger.get("test1")
    with pytest.raises(LedgerError, match=sentence):
        await host.ledger.all()
    assert await host.ledger.get("test2") is None
    with pytest.raises(ConflictError):
        await host.ledger.create(A)


@pytest_twisted.ensureDeferred
async def test_a_strange_claim_is_not_guessed_at(host: EtcdHost) -> None:
    """
    It is not taken for none.
    """
    host.server.put("/powerstrip/flocker/claims/test1", b"\xff")
    assert "the claim of test1" in await sentence_of(host.ledger.claim_of("test1"))
    entry = await host.ledger.create(A)
    assert "the claim of test1" in await sentence_of(host.ledger.claim(entry, "node2"))


@pytest_twisted.ensureDeferred
async def test_other_keys_are_not_records(host: EtcdHost) -> None:
    """
    Those before and after them.
    """
    for key in ("/powerstrip/flocker/dataset", "/powerstrip/flocker/datasets0", "/registry"):
        host.server.put(key, b"")
    assert await host.ledger.all() == ()


@pytest_twisted.ensureDeferred
async def test_a_killed_etcd_is_said_and_comes_back(tmp_path: Path, reactor: Any) -> None:
    """
    In the middle of a move: nothing can be said meanwhile, and the move goes on afterwards.
    """
    server = start_etcd(tmp_path)
    host = EtcdHost(reactor, server)
    try:
        await host.open()
        entry = await host.ledger.create(A)
        claim = await host.ledger.claim(entry, "node2")
        server.members[0].send(signal.SIGKILL)
        sentence = await sentence_of(host.ledger.commit(claim, entry, MOVED))
        assert sentence.startswith(f"etcd can't be asked who owns what: {server.endpoints[0]}: ")
        assert "refused" in sentence
        await sentence_of(host.ledger.get("test1"))
        server.members[0].start()
        server.await_ready()
        assert await host.ledger.get("test1") == entry
        assert (await host.ledger.commit(claim, entry, MOVED)).record == MOVED
    finally:
        await host.stop()
        server.stop()


@pytest.mark.parametrize("is_secure", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_stopped_etcd_is_said_and_goes_on(
    tmp_path: Path, reactor: Any, keys: Keys, is_secure: bool
) -> None:
    """
    A look fails, a commit is in doubt, and what `get` says of it afterwards stays true.
    """
    server = start_etcd(tmp_path, keys=keys if is_secure else None)
    tls = EtcdTls.load(keys.ca, keys.cert, keys.key)
    host = EtcdHost(reactor, server, (tls,) if is_secure else ())
    try:
        await host.open()
        entry = await host.ledger.create(A)
        claim = await host.ledger.claim(entry, "node2")
        server.members[0].send(signal.SIGSTOP)
        sentence = await sentence_of(host.ledger.commit(claim, entry, MOVED))
        assert "no answer within 4 s; whether the change was made is not known" in sentence
        server.members[0].send(signal.SIGCONT)
        found = await host.ledger.get("test1")
        assert found is not None
        assert found.record in (A, MOVED)
        await wait(host, 0.5)
        assert await host.ledger.get("test1") == found
        server.members[0].send(signal.SIGSTOP)
        assert "no answer within 4 s" in await sentence_of(host.ledger.get("test1"))
        server.members[0].send(signal.SIGCONT)
        assert await host.ledger.get("test1") == found
    finally:
        server.members[0].send(signal.SIGCONT)
        await host.stop()
        server.stop()


@pytest_twisted.ensureDeferred
async def test_one_dead_endpoint_of_three_is_passed_over(tmp_path: Path, reactor: Any) -> None:
    """
    With two dead nothing can be said, as the third can't know what they have agreed on.
    """
    server = start_etcd(tmp_path, 3)
    host = EtcdHost(reactor, server)
    try:
        await host.open()
        server.members[0].send(signal.SIGKILL)
        # If it was the leader, another one is elected meanwhile, and no change is to be in doubt.
        await host.ledger.get("test1")
        entry = await host.ledger.create(A)
        claim = await host.ledger.claim(entry, "node2")
        moved = await host.ledger.commit(claim, entry, MOVED)
        assert [moved] == list(await host.ledger.all())
        server.members[1].send(signal.SIGKILL)
        sentence = await sentence_of(host.ledger.get("test1"))
        assert all(endpoint in sentence for endpoint in server.endpoints)
    finally:
        await host.stop()
        server.stop()


@pytest_twisted.ensureDeferred
async def test_a_token_that_has_ended_is_renewed(
    closed_etcd: EtcdServer, keys: Keys, reactor: Any
) -> None:
    """
    A restart of etcd ends all simple tokens.
    """
    closed_etcd.clear()
    tls = EtcdTls.load(keys.ca, keys.cert, keys.key)
    host = EtcdHost(reactor, closed_etcd, (tls, EtcdUser("root", PASSWORD)))
    try:
        await host.open()
        entry = await host.ledger.create(A)
        closed_etcd.members[0].send(signal.SIGKILL)
        closed_etcd.members[0].start()
        closed_etcd.await_ready()
        closed_etcd.log_in(PASSWORD)
        assert (await host.ledger.replace(entry, MOVED)).record == MOVED
    finally:
        await host.stop()


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_is_said(closed_etcd: EtcdServer, keys: Keys, reactor: Any) -> None:
    """
    So is none, and the password is in no sentence.
    """
    tls = EtcdTls.load(keys.ca, keys.cert, keys.key)
    user = EtcdUser("root", "hunter2")
    sentence = await sentence_of(starting(reactor, closed_etcd.endpoints, tls, user))
    assert sentence.startswith("etcd does not know the user root by this password")
    assert "hunter2" not in sentence + repr(user)
    sentence = await sentence_of(starting(reactor, closed_etcd.endpoints, tls))
    assert sentence.startswith("etcd asks for a user and a password, and none are given")


@pytest_twisted.ensureDeferred
async def test_a_password_for_nothing_is_said(plain_etcd: EtcdServer, reactor: Any) -> None:
    """
    An etcd without users is open to everybody, which the operator seems not to know.
    """
    arguments = (plain_etcd.endpoints, None, EtcdUser("root", PASSWORD))
    sentence = await sentence_of(starting(reactor, *arguments))
    assert sentence.startswith("the user root is given, and etcd has no users")


@pytest_twisted.ensureDeferred
async def test_a_wrong_ca_is_said(
    closed_etcd: EtcdServer, keys: Keys, tmp_path: Path, reactor: Any
) -> None:
    """
    By the name of its file.
    """
    foreign = make_keys(tmp_path / "foreign")
    tls = EtcdTls.load(foreign.ca, keys.cert, keys.key)
    sentence = await sentence_of(starting(reactor, closed_etcd.endpoints, tls))
    assert f"its certificate is not signed by one that {foreign.ca} has" in sentence


@pytest_twisted.ensureDeferred
async def test_a_certificate_of_another_host_is_said(tmp_path: Path, reactor: Any) -> None:
    """
    It may be signed by the right CA.
    """
    keys = make_keys(tmp_path / "keys", "127.0.0.2")
    server = start_etcd(tmp_path)
    server.stop()
    member = server.members[0]
    url = member.url.replace("http:", "https:")
    files = ("--cert-file", str(keys.cert), "--key-file", str(keys.key))
    tls_member = evolve(member, url=url, arguments=(*member.arguments, *files))
    tls_member.start()
    try:
        tls = EtcdTls.load(keys.ca, None, None)
        give_up_at = time.monotonic() + 10
        sentence = "refused"
        while "refused" in sentence and time.monotonic() < give_up_at:
            sentence = await sentence_of(starting(reactor, [url], tls))
        assert "its certificate is another host's" in sentence
    finally:
        tls_member.send(signal.SIGKILL)


@pytest_twisted.ensureDeferred
async def test_no_certificate_is_said(closed_etcd: EtcdServer, keys: Keys, reactor: Any) -> None:
    """
    Etcd hangs up on who has none, and on who has one of somebody else's.
    """
    tls = EtcdTls.load(keys.ca, None, None)
    sentence = await sentence_of(starting(reactor, closed_etcd.endpoints, tls))
    assert "TLS has failed: " in sentence
    assert "certificate" in sentence


@pytest_twisted.ensureDeferred
async def test_a_common_name_is_said(closed_etcd: EtcdServer, keys: Keys, reactor: Any) -> None:
    """
    Etcd's gateway refuses it together with users.
    """
    tls = EtcdTls.load(keys.ca, keys.named_cert, keys.key)
    user = EtcdUser("root", PASSWORD)
    sentence = await sentence_of(starting(reactor, closed_etcd.endpoints, tls, user))
    assert sentence.startswith("etcd takes a certificate with a common name from no user")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("10.0.0.1:2379", "10.0.0.1:2379 is no endpoint of etcd, such as https://"),
        ("tcp://10.0.0.1", "is no endpoint"),
        ("http://", "is no endpoint"),
        ("http://h:port", "is no endpoint"),
        ("http://h/v2", "is no endpoint"),
        ("http://root:pw@h", "don't belong in its URL"),
    ],
)
def test_what_is_no_endpoint_is_said(reactor: Any, url: str, sentence: str) -> None:
    """
    Before anybody is asked.
    """
    with pytest.raises(LedgerError, match=sentence):
        EtcdGateway(reactor, [url])


def test_tls_files_that_are_no_good_are_said(tmp_path: Path, keys: Keys, reactor: Any) -> None:
    """
    By name. With files for TLS nothing goes in the clear.
    """
    with pytest.raises(LedgerError, match=r"none\.pem can't be read: No such file"):
        EtcdTls.load(tmp_path / "none.pem", keys.cert, keys.key)
    with pytest.raises(LedgerError, match=r"key\.pem does not hold what it should, in PEM"):
        EtcdTls.load(keys.key, keys.cert, keys.key)
    foreign = make_keys(tmp_path / "foreign")
    with pytest.raises(LedgerError, match=r"key\.pem is not the key of .*cert\.pem"):
        EtcdTls.load(keys.ca, keys.cert, foreign.key)
    tls = EtcdTls.load(keys.ca, keys.cert, keys.key)
    with pytest.raises(LedgerError, match="without TLS"):
        EtcdGateway(reactor, ["http://127.0.0.1:2379"], tls)
