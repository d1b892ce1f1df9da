"""
What becomes of a request that creates or starts a container.

I/O: asks the engine, and has datasets brought here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from attrs import define
from twisted.logger import Logger

from powerstrip.adapter.engine import Container, EngineClient
from powerstrip.adapter.errors import EngineError, EngineRefused, Refused
from powerstrip.adapter.hooks import ClientRequest, ServerResponse
from powerstrip.adapter.members import Unreadable, load_object, object_of, text
from powerstrip_flocker.errors import FlockerError, RequestError
from powerstrip_flocker.host_config import bind_sources
from powerstrip_flocker.in_use import datasets_of
from powerstrip_flocker.interfaces import IDatasets, IRequests
from powerstrip_flocker.links import check_stays_inside
from powerstrip_flocker.places import is_below
from powerstrip_flocker.refusals import refusal
from powerstrip_flocker.rewrite import (
    containers_in,
    datasets_in,
    host_config_in,
    places_in,
    rewritten,
)

__all__ = ["Hook"]

_CREATE = re.compile(r"(?:/v[0-9.]+)?/containers/create")
_START = re.compile(r"(?:/v[0-9.]+)?/containers/(?P<container>[^/]+)/(?P<verb>start|restart)")


@define(eq=False)
class Hook:
    """
    The adapter's hooks.
    """

    engine: EngineClient
    datasets: IDatasets
    requests: IRequests

    root: Path = Path("/")
    """Where the root of the host is here, below which datasets are mounted."""

    _log = Logger(namespace="powerstrip-flocker")

    async def before(self, request: ClientRequest) -> ClientRequest:
        """
        Make of a request what goes to the engine. Those of other endpoints pass.

        Raises:
            Refused: with the sentence that the docker command prints.
        """
        path = request.request.partition("?")[0]
        started = _START.fullmatch(path)
        try:
            if request.method == "POST" and _CREATE.fullmatch(path) and request.body is not None:
                body = await self._create(request.body)
                return ClientRequest(request.method, request.request, body)
            if request.method == "POST" and started is not None:
                reference = unquote(started["container"])
                await self._start(
                    reference, request.body or "", restarts=started["verb"] != "start"
                )
        except FlockerError as error:
            raise refusal(error) from error
        except EngineError as error:
            raise Refused(502, f"flocker: {error}") from error
        return request

    async def after(self, request: ClientRequest, response: ServerResponse) -> ServerResponse:
        """
        Take note of what the engine has refused: what was expected of it does not come.

        Args:
            request: The client's own, as it was before any pre-hook.

        Returns:
            The answer as it was, whatever happens here: the engine's word holds.
        """
        if request.method == "POST" and response.code >= 300:
            path = request.request.partition("?")[0]
            started = _START.fullmatch(path)
            try:
                if _CREATE.fullmatch(path) and request.body is not None:
                    self.requests.not_created(await self._datasets_asked(request.body))
                elif started is not None:
                    container = await self._find(unquote(started["container"]))
                    if container is not None:
                        self.requests.not_started(container.id)
            except (FlockerError, EngineError) as error:
                self._log.warn("datasets stay for a while: {error}", error=str(error))
        return response

    async def _create(self, body: str) -> str:
        names = await self._datasets_asked(body)
        if not names:
            return body
        await self._refuse_missing_image(body)
        found = await self._have(names)
        try:
            for place in places_in(body):
                mount_point = found[place.dataset]
                check_stays_inside(place.on_host(mount_point), mount_point, self.root)
        except FlockerError:
            self.requests.not_created(names)
            raise
        return rewritten(body, found)

    async def _datasets_asked(self, body: str) -> Sequence[str]:
        return tuple(dict.fromkeys([*datasets_in(body), *await self._mounted_already(body)]))

    async def _start(self, reference: str, body: str, *, restarts: bool) -> None:
        """
        Have back what a container that was created earlier mounts.
        """
        if datasets_in(body):
            raise RequestError(
                "/flocker can be named when a container is created, and not when it is started"
            )
        container = await self._find(reference)
        if container is None or (container.is_running and not restarts):
            return  # the engine says so itself
        mounted = await self._datasets_of([container.inspected])
        names = tuple(dict.fromkeys([*mounted, *await self._mounted_already(body)]))
        if not names:
            return
        found = await self._have(names)
        self.requests.starting(container.id, names)
        try:
            for source in bind_sources(object_of(container.inspected.get("HostConfig"))):
                for mount_point in found.values():
                    if is_below(source, mount_point):
                        check_stays_inside(source, mount_point, self.root)
        except FlockerError:
            self.requests.not_started(container.id)
            raise

    async def _have(self, names: Sequence[str]) -> Mapping[str, str]:
        found = await self.datasets.have(names)
        return {name: str(path) for name, path in found.items()}

    async def _mounted_already(self, body: str) -> Sequence[str]:
        """
        The datasets that a request takes over from other containers, or names by where they are
        mounted: as those do who make a container again of what ``docker inspect`` shows.
        """
        others = [await self._find(reference) for reference in containers_in(body)]
        inspected = [it.inspected for it in others if it is not None]
        return await self._datasets_of([{"HostConfig": host_config_in(body)}, *inspected])

    async def _datasets_of(self, inspected: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        # Datasets are asked for only where there may be one: others' starts wait for no ledger.
        below = {"any": str(self.datasets.mounted_below())}
        those = [it for it in inspected if datasets_of(it, below)]
        if not those:
            return ()
        mount_points = {name: str(it) for name, it in (await self.datasets.mount_points()).items()}
        return [name for it in those for name in datasets_of(it, mount_points)]

    async def _find(self, reference: str) -> Container | None:
        try:
            return await self.engine.container(reference)
        except EngineRefused as error:
            if error.is_missing:
                return None  # the engine says so itself
            raise

    async def _refuse_missing_image(self, body: str) -> None:
        """
        Say what the engine would say: the docker command then pulls the image and asks again, and
        the dataset stays where it is in use all that time.
        """
        try:
            image = text(load_object(body).get("Image"))
        except Unreadable:
            return
        try:
            if image:
                await self.engine.image(image)
        except EngineRefused as error:
            raise Refused(error.status, str(error)) from error
