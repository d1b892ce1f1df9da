"""
What the adapter answers: hooks, its status, and addresses for the host itself.

I/O: a Klein app over the parts that do the work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Interface
from urllib.parse import unquote

from klein import Klein
from twisted.web.iweb import IRequest

from powerstrip.adapter.engine import EngineClient
from powerstrip.adapter.errors import EngineError, EngineRefused, Refused
from powerstrip.adapter.hooks import ClientRequest, ServerResponse, answer_hook, answer_json
from powerstrip.adapter.posted import posted_json
from powerstrip_weave.addresses import requested_addresses
from powerstrip_weave.attachments import Attachments
from powerstrip_weave.errors import AddressError, AddressInUse, RequestError, WeaveError
from powerstrip_weave.interfaces import INetwork
from powerstrip_weave.rewrite import ImageDefaults, image_of, wait_for_network
from powerstrip_weave.status import status
from powerstrip_weave.wait_place import WaitPlace

__all__ = ["WeaveAdapter"]

_CREATE = re.compile(r"(?:/v[0-9.]+)?/containers/create")
_START = re.compile(r"(?:/v[0-9.]+)?/containers/(?P<container>[^/]+)/(?:re)?start")

_EXAMPLE = '{"address": "10.255.0.1/8"}'
"""Of what the command line asks for."""


class WeaveAdapter:
    """
    The adapter as an HTTP resource: ``WeaveAdapter(…).app.resource()``.
    """

    app = Klein()

    def __init__(
        self,
        engine: EngineClient,
        network: INetwork,
        attachments: Attachments,
        wait_place: WaitPlace,
    ) -> None:
        self._engine = engine
        self._network = network
        self._attachments = attachments
        self._wait_place = wait_place

    @app.route("/v1/extension", methods=["POST"])
    @app.route("/extension", methods=["POST"])
    async def extension(self, request: IRequest) -> bytes:
        """
        Powerstrip's hooks: before a create, after a start and after a restart. Others pass.
        """
        return await answer_hook(request, self._before, self._after)

    @app.route("/status", methods=["GET"])
    async def status(self, request: IRequest) -> bytes:
        """
        How it is, in JSON. The status is 200, whatever it says.

        ::

            {"driver": "vxlan",
             "mtu_bytes": 1450,
             "engine": {"address": "unix:///var/run/docker.sock", "problem": null},
             "containers": [{"id": "64 digits", "name": "web", "addresses": ["10.255.0.51/8"],
                             "attached": true}],
             "stopped": [{"id": "64 digits", "name": "db", "seconds_ago": 4.2,
                          "problem": "the address 10.255.0.52 is in use on the network by …"}],
             "peers": [{"address": "192.0.2.7", "last_heard_seconds": 0.4}],
             "problems": ["a sentence each"]}

        ``containers`` are those that run with a ``WEAVE_CIDR``, by name; where the engine can't be
        reached (``engine.problem`` says why) those that are attached, and ``name`` is null.
        ``stopped`` are those that could not have their addresses in the last ten minutes. A peer
        that was never heard has null seconds; ``mtu_bytes`` is null where it isn't known.
        """

        async def reply() -> bytes:
            return _json(await status(self._engine, self._network, self._attachments))

        return await answer_json(request, reply)

    @app.route("/expose", methods=["POST"])
    async def expose(self, request: IRequest) -> bytes:
        """
        Give the host an address. ``{"address": "10.255.0.1/8"}`` is sent, as ``application/json``,
        and answered.

        Errors are ``{"message": "…"}``: 400 for what is no address, 409 for one in use, 415 for
        another type of body, 500 where the network fails.
        """
        return await self._with_address(request, self._network.expose)

    @app.route("/hide", methods=["POST"])
    async def hide(self, request: IRequest) -> bytes:
        """
        Take an address of the host's away, if it has it. As `expose`, but for the 409.
        """
        return await self._with_address(request, self._network.hide)

    async def _before(self, request: ClientRequest) -> ClientRequest:
        if request.method != "POST" or not _CREATE.fullmatch(_path(request)):
            return request
        image = image_of(request.body) if request.body is not None else None
        if request.body is None or image is None:
            return request
        try:
            defaults = await self._engine.image(image)
        except EngineRefused:
            return request  # it says so itself then, and the docker command pulls the image
        except EngineError as error:
            raise _refusal(error) from error
        try:
            wait_place = self._wait_place
            body = wait_for_network(
                request.body, ImageDefaults.from_json(defaults), wait_place.mount
            )
            if body != request.body:
                await wait_place.make_ready()
        except (WeaveError, EngineError) as error:
            raise _refusal(error) from error
        return ClientRequest(request.method, request.request, body)

    async def _after(self, request: ClientRequest, response: ServerResponse) -> ServerResponse:
        started = _START.fullmatch(_path(request))
        if request.method != "POST" or started is None or response.code >= 400:
            return response
        try:
            await self._attachments.ensure(unquote(started["container"]))
        except (WeaveError, EngineError) as error:
            raise _refusal(error) from error
        return response

    async def _with_address(
        self, request: IRequest, do: Callable[[IPv4Interface], Awaitable[None]]
    ) -> bytes:
        async def reply() -> bytes:
            address = _address(request)
            try:
                await do(address)
            except WeaveError as error:
                raise _refusal(error) from error
            return _json({"address": str(address)})

        return await answer_json(request, reply)


def _path(request: ClientRequest) -> str:
    return request.request.partition("?")[0]


def _refusal(error: WeaveError | EngineError) -> Refused:
    status = 500
    if isinstance(error, EngineError):
        status = 502
    elif isinstance(error, (AddressError, RequestError)):
        status = 400
    elif isinstance(error, AddressInUse):
        status = 409
    return Refused(status, f"weave: {error}")


def _address(request: IRequest) -> IPv4Interface:
    """
    The address of which a request speaks.
    """
    said = posted_json(request, _EXAMPLE).get("address")
    if not isinstance(said, str):
        raise Refused(400, f"the body must be JSON such as {_EXAMPLE}")
    try:
        addresses = requested_addresses([f"WEAVE_CIDR={said}"]) or ()
    except AddressError as error:
        raise Refused(400, str(error).removeprefix("WEAVE_CIDR: ")) from None
    if len(addresses) != 1:
        raise Refused(400, "one address is needed, such as 10.255.0.1/8")
    return addresses[0]


def _json(value: object) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"
