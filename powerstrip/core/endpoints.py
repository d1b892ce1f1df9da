"""
Which requests a hook sees: patterns such as ``POST /*/containers/create``.

Sans-I/O: a request's method and target in, a yes or no out.

A client may write the path of one endpoint in many ways, so a pattern is not
matched against what the client wrote but against the path as the engine will
route it. The engine is a Go program, in all its versions alike:

* ``net/http`` ``ReadRequest`` parses the target with ``url.ParseRequestURI``,
  which cuts the query at the first ``?`` (and no fragment), takes a scheme and
  an authority away, and percent-decodes the whole path once: ``%2F`` becomes a
  slash like any other (golang/go ``src/net/url/url.go``, ``parse``, ``unescape``);
* gorilla/mux compares that decoded path with its routes, and answers a path that
  ``cleanPath`` would change with a redirect (gorilla/mux ``mux.go``, ``ServeHTTP``);
* each route exists twice, as it is and behind ``/v{version:[0-9.]+}``, and its
  method is compared in its own case (moby/moby ``api/server/server.go``
  ``createMux``; ``daemon/server/server.go`` ``CreateMux`` since version 29).
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase, translate
from urllib.parse import quote, unquote_to_bytes

from attrs import field, frozen

from powerstrip.errors import DownstreamProtocolError

__all__ = ["EndpointPattern", "RoutedPath"]

VERSION = re.compile(r"/(v[0-9.]+)(?=/)")
"""The version in front of a path: the engine's ``versionMatcher``, before a slash."""

PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_~:@!$&'()*+,;=-][A-Za-z0-9_~:@!$&'()*+,;=.-]*)+/?")
"""A path that decoding and cleaning leave as it is. Nearly all are."""

ABSOLUTE_FORM = re.compile(rb"https?://([^/@]+)(/.*)?", re.IGNORECASE | re.DOTALL)

NOT_IN_A_TARGET = re.compile(rb"[\x00-\x20\x7f#]")

BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

UNRESERVED = "/:@!$&'()*+,;=~-._"
"""What RFC 3986 section 3.3 lets stand in a path unescaped, apart from letters and digits."""


@frozen
class RoutedPath:
    """
    The path of a request as the engine will route it: decoded and cleaned, without its query.
    """

    path: str
    """Decoded and cleaned; bytes that are not UTF-8 are surrogate escapes."""

    version: str | None
    """The version in front, such as ``v1.41``."""

    unversioned: str
    """The path without its version: what tells endpoints apart."""

    @classmethod
    def parse(cls, target: bytes) -> RoutedPath:
        """
        Reads a request-target as the engine would.

        Args:
            target: As it stands in the request line: ``/path?query`` or ``http://host/path?query``.

        Raises:
            DownstreamProtocolError: The target is not one of these two, or can be read in two ways.
        """
        if found := NOT_IN_A_TARGET.search(target):
            # Go refuses all of these but "#", which it takes for a plain character. Other
            # parsers (Python's urlsplit, so an adapter) end the query there.
            raise DownstreamProtocolError(
                f"the request target has a {found[0].decode()!r} in it, which must be escaped"
            )
        raw = target.partition(b"?")[0]
        if not raw.startswith(b"/"):
            raw = _path_of_absolute_form(raw)
        if not PLAIN_PATH.fullmatch(raw):
            raw = _clean(_decode(raw))
        path = raw.decode("utf-8", "surrogateescape")
        versioned = VERSION.match(path)
        if versioned is None:
            return cls(path, None, path)
        return cls(path, versioned[1], path[versioned.end() :])

    @property
    def forms(self) -> tuple[str, ...]:
        """
        The path as it is and, where it has a version, without it: the engine serves both alike.
        """
        if self.version is None:
            return (self.path,)
        return (self.path, self.unversioned)

    @property
    def canonical(self) -> str:
        """
        The path in its one plain spelling, escaped only where it must be.

        An adapter that looks at the path of a request should be shown this
        one: it may not know that ``/containers%2Fcreate`` is ``/containers/create``.
        """
        return quote(self.path.encode("utf-8", "surrogateescape"), safe=UNRESERVED)


def _path_of_absolute_form(target: bytes) -> bytes:
    """
    Takes ``http://host`` or ``https://host`` away, and nothing else.

    Go's parser takes any scheme, a scheme with no host (``http:/containers/create``
    is routed to create) and user names as well, which no Docker client sends.
    RFC 9112 section 3.2 has two more forms, ``*`` and ``host:port``, which name no endpoint.
    """
    found = ABSOLUTE_FORM.fullmatch(target)
    if found is None:
        raise DownstreamProtocolError(
            "the request target must begin with a slash or with http://host/"
        )
    return found[2] or b"/"


def _decode(raw: bytes) -> bytes:
    if BAD_ESCAPE.search(raw):
        raise DownstreamProtocolError("the path of the request has a % without two hex digits")
    decoded = unquote_to_bytes(raw)
    if b"\0" in decoded:
        raise DownstreamProtocolError("the path of the request has an encoded NUL in it")
    return decoded


def _clean(path: bytes) -> bytes:
    """
    Removes ``//``, ``/.`` and ``/..``, and keeps a slash at the end: gorilla/mux ``cleanPath``.

    The slash at the end of ``/a/..`` and ``/a/.`` is not kept, as there is none.
    """
    segments: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del segments[-1:]
        elif segment not in (b"", b"."):
            segments.append(segment)
    cleaned = b"/" + b"/".join(segments)
    return cleaned + b"/" if segments and path.endswith(b"/") else cleaned


@frozen
class EndpointPattern:
    """
    ``METHOD path-glob``, which selects requests; ``*`` crosses slashes.
    """

    method: str
    path_glob: str
    _path_regex: re.Pattern[str] = field(init=False, eq=False, repr=False)
    _any_version_regex: re.Pattern[str] = field(init=False, eq=False, repr=False)

    @_path_regex.default
    def _compile_path(self) -> re.Pattern[str]:
        return re.compile(translate(self.path_glob))

    @_any_version_regex.default
    def _compile_any_version(self) -> re.Pattern[str]:
        rests = _rests_after_a_version(_tokens(self.path_glob))
        return re.compile("|".join(map(translate, rests)) or r"(?!)")

    @classmethod
    def parse(cls, text: str) -> EndpointPattern:
        """
        Reads a pattern as it stands in the configuration.

        Raises:
            ValueError: The text is no pattern, or one that would never match; in a sentence.
        """
        method, _, glob = text.partition(" ")
        glob = glob.strip()
        problem = _problem_of_method(method) or _problem_of_glob(glob)
        if problem:
            raise ValueError(f"{text!r} is not an endpoint pattern: {problem}")
        return cls(method, glob)

    def __str__(self) -> str:
        return f"{self.method} {self.path_glob}"

    def matches(self, method: str, path: RoutedPath) -> bool:
        """
        Whether this pattern selects a request.

        The engine serves each route with and without its version, so a path
        with one is tried without it, and a path without one as if it had
        any: else a client could step past a hook by leaving the version out
        (weaveworks/weave#770).
        """
        if not fnmatchcase(method, self.method):
            return False
        if any(self._path_regex.match(form) for form in path.forms):
            return True
        return path.version is None and self._any_version_regex.match(path.path) is not None


def _problem_of_method(method: str) -> str | None:
    if not method:
        return "a method and a path are needed, such as POST /*/containers/create"
    if method != method.upper():
        return f"the engine knows methods in capitals only, so write {method.upper()}"
    if not re.fullmatch(r"[A-Z?*\[\]!-]+", method):
        return f"{method!r} is not a method"
    return None


def _problem_of_glob(glob: str) -> str | None:
    if not glob:
        return "a path must follow the method, such as POST /*/containers/create"
    if not glob.startswith(("/", "*")):
        return "the path must begin with a slash"
    if re.search(r"[\s#%]", glob):
        return "the path is matched decoded, so it has no spaces, # or % in it"
    if re.search(r"\?[^/]*=", glob):
        return "the query takes no part"
    if re.search(r"//|/\.\.?(/|$)", glob):
        return "the path is matched cleaned, so it has no //, /. or /.. in it"
    return None


def _tokens(glob: str) -> list[str]:
    """
    Splits a glob into what each matches: ``*``, ``?``, ``[…]`` or one character.
    """
    return re.findall(r"\[!?+\]?+[^\]]*\]|.", glob, re.DOTALL)


def _rests_after_a_version(tokens: list[str]) -> list[str]:
    """
    What is left of a glob once it has read ``/v`` and some digits and dots, in all possible ways.

    The glob is run as an automaton, whose states are positions in it.
    """
    states = _step(_step({0}, tokens, "/"), tokens, "v")
    after: set[int] = set()
    while not states <= after:
        after |= states
        states = set().union(*(_step(after, tokens, digit) for digit in "0123456789."))
    return ["".join(tokens[state:]) for state in sorted(after)]


def _step(states: set[int], tokens: list[str], char: str) -> set[int]:
    following = set()
    for state in states:
        for position in range(state, len(tokens)):
            if tokens[position] == "*":
                following.add(position)  # and it may as well match nothing
                continue
            if fnmatchcase(char, tokens[position]):
                following.add(position + 1)
            break
    return following
