"""
Parameters that the engine would read, and a hook would not.

Sans-I/O. Hooks are shown the query. The engine also takes parameters from forms, and older engines
separate them by semicolons. Docker's API uses neither: a request that does is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import unquote_to_bytes

from powerstrip.core.http1 import RequestHead
from powerstrip.core.quoting import quoted
from powerstrip.errors import DownstreamProtocolError

_FORM = re.compile(rb"application/x-www-form-urlencoded|multipart/form-data", re.IGNORECASE)


_LISTS = frozenset(b"changes extrahosts names platform platforms securityopt t type".split(b" "))
"""The parameters of which moby reads more than one (``r.Form[name]`` in ``api/server/router``)."""


def check_parameters(head: RequestHead) -> None:
    """
    Refuse parameters that hooks would not be shown.

    Raises:
        DownstreamProtocolError: for a form in the body, whose parameters Go's ``ParseForm`` puts
            before those of the query; for a Content-Type that is not ASCII, which Go's
            ``mime.ParseMediaType`` may take for a form's, since it trims and lowers Unicode; for a
            semicolon in the query, which separates parameters to Go before 1.17; for a parameter
            that comes twice, of which Go takes the first, and many a library the last.
    """
    query = head.target.partition(b"?")[2]
    if b";" in query:
        raise DownstreamProtocolError('a ";" in the query must be escaped')
    for name, count in Counter(map(_name, filter(None, query.split(b"&")))).items():
        if count > 1 and name not in _LISTS and not _is_nobodys(name):
            shown = quoted(name.decode("utf-8", "replace"))
            raise DownstreamProtocolError(f"the query has {shown} twice")
    if head.body().length == 0:
        return
    for content_type in head.values(b"content-type"):
        if not content_type.isascii():
            raise DownstreamProtocolError("Content-Type is not ASCII")
        if _FORM.fullmatch(content_type.partition(b";")[0].strip()):
            raise DownstreamProtocolError("a form in the body could hide the query's parameters")


def _is_nobodys(name: bytes) -> bool:
    """
    Whether the engine has no such parameter: its own begin with a small letter, and Go tells names
    apart by case. dockerode repeats the members of a body in the query, which have capitals.
    """
    return name[:1].isupper()


def _name(parameter: bytes) -> bytes:
    return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" "))
