"""
A control service in memory, for tests of what asks one.

The contract tests of the real one's API run on it. Nobody could run them on a real one here: they
were written from Flocker's documents and schemas, and take a real one's URL from the environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from hashlib import sha256
from typing import Any, cast
from uuid import UUID, uuid4

from attrs import define, field
from cryptography.x509.oid import NameOID
from klein import Klein
from OpenSSL.crypto import X509
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER, Connection, Context
from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.web.iweb import IRequest
from zope.interface import implementer

__all__ = ["FakeControlService", "UserContextFactory"]

SCHEMA = "The provided JSON doesn't match the required schema."

_Handler = Callable[..., Any]


class _Refusal(Exception):
    def __init__(self, status: int, description: str, errors: list[str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"description": description} | ({"errors": errors} if errors else {})


def _answers(handler: _Handler) -> _Handler:
    """
    Has an endpoint take a request's JSON, where there is any, and give its answer or refusal.
    """

    @wraps(handler)
    def endpoint(self: FakeControlService, request: IRequest, **names: Any) -> bytes:
        request.setHeader(b"content-type", b"application/json")
        try:
            if request.method == b"POST":
                names["question"] = _read(request)
            status, answer = handler(self, request, **names)
        except _Refusal as refusal:
            status, answer = refusal.status, refusal.body
        request.setResponseCode(status)
        return json.dumps(answer).encode("ascii")

    return endpoint


@define(eq=False)
class FakeControlService:
    """
    A cluster's configuration, which answers at once, and its state, which lags.
    """

    clock: IReactorTime
    nodes: Mapping[str, str] = field(factory=dict)
    """The hosts of the connected agents' nodes, by their identities."""

    eras: dict[str, str] = field(factory=dict)
    """The nodes, by their eras."""

    lag_seconds: float = 4.0
    """How long a move takes. A real cluster takes one to fifteen seconds."""

    paths_have_nodes: bool = False
    """Whether a dataset's path has its node's identity in it, as with ZFS; else it is the same on
    all nodes, as with block devices."""

    version: tuple[int, int] = (1, 15)
    """Without leases before 1.4, eras before 1.8 and conditional requests before 1.9."""

    datasets: dict[str, dict[str, Any]] = field(factory=dict)
    """The configuration, by identity."""

    places: dict[str, dict[str, Any]] = field(factory=dict)
    """The state, by identity."""

    leases: dict[str, dict[str, Any]] = field(factory=dict)

    changes: list[str] = field(factory=list)
    """What was done to datasets, in order, as in ``create test1``."""

    app = Klein()

    @app.route("/v1/version", methods=["GET"])
    @_answers
    def _version(self, request: IRequest) -> tuple[int, Any]:
        return 200, {"flocker": "{}.{}.0".format(*self.version)}

    @app.route("/v1/state/nodes", methods=["GET"])
    @_answers
    def _nodes(self, request: IRequest) -> tuple[int, Any]:
        return 200, [{"uuid": uuid, "host": host} for uuid, host in self.nodes.items()]

    @app.route("/v1/state/nodes/by_era/<era>", methods=["GET"])
    def _node_by_era(self, request: IRequest, era: str) -> bytes:
        return self._since((1, 8), request, self._find_era, era=era)

    @_answers
    def _find_era(self, request: IRequest, era: str) -> tuple[int, Any]:
        if era not in self.eras:
            raise _Refusal(404, "No node found with given era.")
        return 200, {"uuid": self.eras[era]}

    @app.route("/v1/configuration/datasets", methods=["GET"])
    @_answers
    def _configuration(self, request: IRequest) -> tuple[int, Any]:
        if self.version >= (1, 9):
            request.setHeader(b"X-Configuration-Tag", self._tag().encode("ascii"))
        return 200, list(self.datasets.values())

    @app.route("/v1/configuration/datasets", methods=["POST"])
    @_answers
    def _create(self, request: IRequest, question: dict[str, Any]) -> tuple[int, Any]:
        self._check_tag(request)
        _check(question, {"primary"}, {"dataset_id", "metadata", "maximum_size"})
        _check_metadata(question.get("metadata", {}))
        _check_size(question.get("maximum_size"))
        dataset_id = question.get("dataset_id", str(uuid4())).lower()
        if dataset_id in self.datasets:
            raise _Refusal(409, "The provided dataset_id is already in use.")
        dataset = {
            "dataset_id": dataset_id,
            "primary": question["primary"].lower(),
            "metadata": question.get("metadata", {}),
            "deleted": False,
        }
        if question.get("maximum_size") is not None:
            dataset["maximum_size"] = question["maximum_size"]
        self._note("create", dataset)
        self.datasets[dataset_id] = dataset
        self._converge_later(dataset_id)
        return 201, dataset

    @app.route("/v1/configuration/datasets/<dataset_id>", methods=["POST"])
    @_answers
    def _update(
        self, request: IRequest, dataset_id: str, question: dict[str, Any]
    ) -> tuple[int, Any]:
        self._check_tag(request)
        _check(question, set(), {"primary"})
        dataset = self._find(dataset_id)
        if dataset["deleted"]:
            raise _Refusal(405, "The dataset has been deleted.")
        if "primary" in question:
            self._note("move", dataset)
            dataset["primary"] = question["primary"].lower()
            self._converge_later(dataset_id)
        return 200, dataset

    @app.route("/v1/configuration/datasets/<dataset_id>", methods=["DELETE"])
    @_answers
    def _delete(self, request: IRequest, dataset_id: str) -> tuple[int, Any]:
        self._check_tag(request)
        dataset = self._find(dataset_id)
        self._note("delete", dataset)
        dataset["deleted"] = True
        self._converge_later(dataset_id)
        return 200, dataset

    @app.route("/v1/state/datasets", methods=["GET"])
    @_answers
    def _state(self, request: IRequest) -> tuple[int, Any]:
        return 200, list(self.places.values())

    @app.route("/v1/configuration/leases", methods=["GET"])
    def _leases(self, request: IRequest) -> bytes:
        return self._since((1, 4), request, self._list_leases)

    @_answers
    def _list_leases(self, request: IRequest) -> tuple[int, Any]:
        return 200, list(self.leases.values())

    @app.route("/v1/configuration/leases", methods=["POST"])
    def _take_lease(self, request: IRequest) -> bytes:
        return self._since((1, 4), request, self._acquire_lease)

    @_answers
    def _acquire_lease(self, request: IRequest, question: dict[str, Any]) -> tuple[int, Any]:
        _check(question, {"dataset_id", "node_uuid", "expires"}, set())
        dataset_id = question["dataset_id"].lower()
        held = self.leases.get(dataset_id)
        if held is not None and held["node_uuid"] != question["node_uuid"]:
            raise _Refusal(409, "Lease already held.")
        self.leases[dataset_id] = question
        return 201 if held is None else 200, question

    @app.route("/v1/configuration/leases/<dataset_id>", methods=["DELETE"])
    def _drop_lease(self, request: IRequest, dataset_id: str) -> bytes:
        return self._since((1, 4), request, self._release_lease, dataset_id=dataset_id)

    @_answers
    def _release_lease(self, request: IRequest, dataset_id: str) -> tuple[int, Any]:
        if dataset_id not in self.leases:
            raise _Refusal(404, "Lease not found.")
        lease = self.leases.pop(dataset_id)
        self._converge_later(dataset_id)
        return 200, lease

    def _since(
        self, version: tuple[int, int], request: IRequest, handler: _Handler, **names: str
    ) -> bytes:
        """
        An endpoint that older ones don't have, of which Klein says what it says of any other path.
        """
        if self.version >= version:
            return cast(bytes, handler(request, **names))
        request.setResponseCode(404)
        request.setHeader(b"content-type", b"text/html")
        return b"<!doctype html><title>404 Not Found</title><h1>Not Found</h1>"

    def _converge_later(self, dataset_id: str) -> None:
        self.clock.callLater(self.lag_seconds / 2, self._converge, dataset_id)

    def _converge(self, dataset_id: str) -> None:
        """
        Do one step of what the agents do, and tell the state of it.
        """
        dataset, place = self.datasets.get(dataset_id), self.places.get(dataset_id)
        lease = self.leases.get(dataset_id)
        if dataset is None:
            return
        if place is None:
            if not dataset["deleted"]:
                self.places[dataset_id] = {"dataset_id": dataset_id} | self._place(dataset)
            return
        node, goal = place.get("primary"), dataset["primary"]
        if (node == goal and not dataset["deleted"]) or (
            node is not None and lease is not None and lease["node_uuid"] == node
        ):
            return
        if dataset["deleted"]:
            del self.places[dataset_id]
        elif node is None:
            place.update(self._place(dataset))
        else:
            del place["primary"], place["path"]
            self._converge_later(dataset_id)

    def _place(self, dataset: Mapping[str, Any]) -> dict[str, str]:
        node, dataset_id = dataset["primary"], dataset["dataset_id"]
        own = f"{node}.default.{dataset_id}" if self.paths_have_nodes else dataset_id
        return {"primary": node, "path": f"/flocker/{own}"}

    def _find(self, dataset_id: str) -> dict[str, Any]:
        if dataset_id not in self.datasets:
            raise _Refusal(404, "Dataset not found.")
        return self.datasets[dataset_id]

    def _note(self, what: str, dataset: Mapping[str, Any]) -> None:
        self.changes.append(f"{what} {dataset['metadata'].get('name')}")

    def _tag(self) -> str:
        return sha256(json.dumps(self.datasets, sort_keys=True).encode()).hexdigest()

    def _check_tag(self, request: IRequest) -> None:
        wanted = request.requestHeaders.getRawHeaders("X-If-Configuration-Matches", [])
        if self.version >= (1, 9) and wanted and self._tag() not in wanted:
            words = f"Tag doesn't match. Required: {wanted[0]}, current: {self._tag()}"
            raise _Refusal(412, words)


@implementer(IOpenSSLContextFactory)
class UserContextFactory:
    """
    TLS as a control service has it: a client needs a certificate that the cluster's has signed, for
    a user of the API, whose common name begins with ``user-``. Nodes' are not let in.
    """

    def __init__(self, cluster: Certificate, own: PrivateCertificate) -> None:
        self._context: Context = own.options(cluster).getContext()
        self._context.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, _is_user)

    # IOpenSSLContextFactory

    def getContext(self) -> Context:
        return self._context


def _is_user(_: Connection, certificate: X509, __: int, depth: int, is_good: int) -> bool:
    names = certificate.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return bool(is_good) and (depth > 0 or any(str(it.value).startswith("user-") for it in names))


def _read(request: IRequest) -> dict[str, Any]:
    try:
        question = json.loads(request.content.read())
    except ValueError:
        words = "The request body could not be decoded according to the value of the Content-Type"
        raise _Refusal(400, f"{words} header.") from None
    if not isinstance(question, dict):
        raise _Refusal(400, SCHEMA, [f"{question!r} is not of type 'object'"])
    return question


def _check(question: Mapping[str, Any], required: set[str], optional: set[str]) -> None:
    errors = [f"'{it}' is a required property" for it in sorted(required - set(question))]
    for it in sorted(set(question) - required - optional):
        errors.append(f"Additional properties are not allowed ('{it}' was unexpected)")
    for it in ("dataset_id", "primary", "node_uuid"):
        if it in question and not _is_uuid(question[it]):
            errors.append(f"{question[it]!r} is too short")
    if errors:
        raise _Refusal(400, SCHEMA, errors)


def _check_metadata(metadata: Any) -> None:
    items = metadata.items() if isinstance(metadata, dict) else [("", "")]
    bad = [
        key for key, it in items if not isinstance(it, str) or not 0 < len(key) <= 256 >= len(it)
    ]
    if bad or len(items) > 16:
        raise _Refusal(400, SCHEMA, [f"{metadata!r} is not valid"])


def _check_size(size: Any) -> None:
    if size is None:
        return
    if type(size) is not int or size < 67108864:
        raise _Refusal(400, SCHEMA, [f"{size!r} is less than the minimum of 67108864"])
    if size % 1024:
        raise _Refusal(400, SCHEMA, [f"{size!r} is not a multiple of 1024"])


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) == 36 and bool(UUID(value))
    except ValueError:
        return False
