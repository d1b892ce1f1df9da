"""
The adapter over HTTP: Powerstrip's hooks, and what the operator's commands ask for.

I/O: requests of Twisted's in, through Klein.
"""

from __future__ import annotations

from klein import Klein
from twisted.web.iweb import IRequest
from twisted.web.pages import notFound
from twisted.web.resource import IResource

from powerstrip.adapter.hooks import answer_hook
from powerstrip_flocker.hook import Hook

__all__ = ["FlockerAdapter"]


class FlockerAdapter:
    """
    The adapter as an HTTP resource: ``FlockerAdapter(…).app.resource()``.
    """

    app = Klein()

    def __init__(self, hook: Hook, operator: IResource | None) -> None:
        """
        Args:
            operator: Answers on all other paths.
        """
        self._hook = hook
        self._operator = operator or notFound()

    @app.route("/flocker-adapter", methods=["POST"])
    async def flocker_adapter(self, request: IRequest) -> bytes:
        """
        Powerstrip's hooks: before and after a create, a start or a restart. Others pass.
        """
        return await answer_hook(request, self._hook.before, self._hook.after)

    @app.route("/", branch=True)
    def operator(self, request: IRequest) -> IResource:
        """
        What the operator asks for.
        """
        return self._operator
