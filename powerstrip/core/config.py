"""
The configuration: which adapters are called for which requests.

Sans-I/O: the text of a file in, a frozen value out, or every mistake in it, each as one sentence
that names the file, the line and the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from enum import Enum
from functools import lru_cache
from math import isfinite

from attrs import field, frozen

from powerstrip.core.adapter_urls import AdapterUrl
from powerstrip.core.endpoints import EndpointPattern, RoutedPath
from powerstrip.core.quoting import quoted
from powerstrip.core.yaml_nodes import Place, YamlProblem, compose
from powerstrip.errors import ConfigError

DEFAULT_TIMEOUT_SECONDS = 60.0

MAX_TIMEOUT_SECONDS = 7 * 24 * 3600
"""A week. A reactor's wait is counted in milliseconds and 31 bits: epoll_wait(2)."""

DEFAULT_MAX_BODY_BYTES = 4 * 1024 * 1024

MAX_PATTERN_CHARACTERS = 500

MAX_CHAIN = 100
"""Adapters in one list: with YAML's aliases, a small file could name very many."""

CACHED_REQUESTS = 1024

MAX_CACHED_TARGET_BYTES = 512
"""A request's head may have a mebibyte: a thousand of those are not worth keeping."""

_MAX_PROBLEMS = 100


class OnError(Enum):
    """
    What becomes of a request whose adapter did not do its part.
    """

    FAIL = "fail"
    """The client is told, and no request goes on that its hooks have not seen."""

    IGNORE = "ignore"
    """The chain goes on as if the adapter were not in it."""


@frozen
class Adapter:
    """
    One HTTP endpoint that hooks are sent to.
    """

    name: str
    url: str = field(repr=False)
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    on_error: OnError = OnError.FAIL
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    location: AdapterUrl = field(init=False, eq=False, repr=lambda it: it.display_url)
    """The parts of the URL."""

    @location.default
    def _parse_url(self) -> AdapterUrl:
        return AdapterUrl.parse(self.url)

    @property
    def display_url(self) -> str:
        """
        The URL as sentences and logs may show it.
        """
        return self.location.display_url


@frozen
class Hooks:
    """
    The adapters of one request, in the order in which they are called.
    """

    pre: tuple[Adapter, ...]
    post: tuple[Adapter, ...]
    are_wanted: bool = field(init=False, eq=False, repr=False)
    """Whether there is any: if not, the request takes the pass lane."""

    @are_wanted.default
    def _any(self) -> bool:
        return bool(self.pre or self.post)


NO_HOOKS = Hooks((), ())


@frozen
class Endpoint:
    """
    The adapters for the requests that one pattern selects.
    """

    pattern: EndpointPattern
    pre: tuple[Adapter, ...] = ()
    post: tuple[Adapter, ...] = ()


@frozen
class Config:
    """
    What one file says.
    """

    endpoints: tuple[Endpoint, ...]
    """In the file's order."""

    adapters: tuple[Adapter, ...]
    _cached: Callable[[str, bytes], Hooks] = field(init=False, eq=False, repr=False)

    @_cached.default
    def _cache(self) -> Callable[[str, bytes], Hooks]:
        return lru_cache(CACHED_REQUESTS)(self._match)

    @classmethod
    def parse(cls, text: str, file: str) -> Config:
        """
        Reads the text of a configuration file.

        Args:
            file: The file's name, for the sentences.

        Raises:
            ConfigError: With every problem that was found.
        """
        reader = _Reader()
        config = reader.read(text)
        if config is None or reader.problems:
            raise ConfigError(_sentences(file, reader.problems))
        return config

    def hooks_for(self, method: str, target: bytes) -> Hooks:
        """
        The hooks that a request wants.

        Args:
            target: As it stands in the request line. Its path is matched as the engine would route
                it, once: after that, the answer comes out of a cache.

        Raises:
            DownstreamProtocolError: The target can be read in two ways, or in none.
        """
        # "#" is a matter of the whole target: see RoutedPath.
        if len(target) > MAX_CACHED_TARGET_BYTES or b"#" in target:
            return self._match(method, target)
        return self._cached(method, target.partition(b"?")[0])

    def _match(self, method: str, target: bytes) -> Hooks:
        path = RoutedPath.parse(target)
        matching = [it for it in self.endpoints if it.pattern.matches(method, path)]
        pre = _each_once(adapter for it in matching for adapter in it.pre)
        post = _each_once(adapter for it in matching for adapter in it.post)
        return Hooks(pre, post) if pre or post else NO_HOOKS


def _each_once(adapters: Iterable[Adapter]) -> tuple[Adapter, ...]:
    return tuple({adapter.name: adapter for adapter in adapters}.values())


@frozen
class _Problem:
    """
    One mistake in the file.
    """

    line: int | None
    keys: tuple[str, ...]
    sentence: str

    def in_file(self, file: str) -> str:
        where = file if self.line is None else f"{file}, line {self.line}"
        if self.keys:
            where += ", " + " > ".join(quoted(key) for key in self.keys)
        return f"{where}: {self.sentence}"


def _sentences(file: str, problems: list[_Problem]) -> list[str]:
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    sentences = [problem.in_file(file) for problem in ordered[:_MAX_PROBLEMS]]
    if len(ordered) > _MAX_PROBLEMS:
        sentences.append(f"{file}: there are {len(ordered) - _MAX_PROBLEMS} problems more")
    return sentences


class _Reader:
    """
    Turns nodes into values, and notes each mistake it meets instead of stopping at the first.
    """

    def __init__(self) -> None:
        self.problems: list[_Problem] = []
        self.adapters: dict[str, Adapter | None] = {}
        """By name; None where the adapter has a mistake of its own."""

        self.used: set[str] = set()
        """The names that endpoints call, mistyped ones too where it is clear what was meant."""

    def read(self, text: str) -> Config | None:
        try:
            root = compose(text)
        except YamlProblem as exc:
            self.problems.append(_Problem(exc.line, (), exc.sentence))
            return None
        if root is None or root.is_null:
            self.problems.append(
                _Problem(
                    1,
                    (),
                    'the file is empty; it needs the keys "endpoints" and "adapters" '
                    "(both may be {}, which makes a plain proxy)",
                )
            )
            return None
        return self._config(root)

    def _config(self, root: Place) -> Config | None:
        sections = self._known_entries(root, ("version", "endpoints", "adapters"))
        if sections is None:
            return None
        if "version" in sections and sections["version"].scalar != "1":
            self._note(sections["version"], f"must be 1{_but_is(sections['version'])}")
        for name in ("endpoints", "adapters"):
            if name not in sections:
                self._note(root, f'the key "{name}" is missing (it may be {{}})')
        names = self._adapters(sections["adapters"]) if "adapters" in sections else {}
        endpoints = self._endpoints(sections["endpoints"]) if "endpoints" in sections else []
        if "endpoints" in sections:
            self._note_unused(names)
        return Config(
            tuple(endpoints), tuple(adapter for adapter in self.adapters.values() if adapter)
        )

    def _adapters(self, section: Place) -> dict[str, Place]:
        """
        Reads all adapters.

        Returns:
            Where each name stands.
        """
        entries = self._entries(section, "a mapping of names to URLs (which may be {})")
        for name, (key, value) in (entries or {}).items():
            if not name or not name.isprintable():
                self._note(key, f"{quoted(name)} can't be a name: it must be printable text")
            self.adapters[name] = self._adapter(name, value)
        return {name: key for name, (key, _) in (entries or {}).items()}

    def _adapter(self, name: str, place: Place) -> Adapter | None:
        if place.entries is None:
            url = self._url(place)
            return None if url is None else Adapter(name, url)
        settings = self._known_entries(place, ("url", "timeout", "on_error", "max_body")) or {}
        if "url" not in settings:
            self._note(place, 'the key "url" is missing')
        url = self._url(settings["url"]) if "url" in settings else None
        timeout_seconds = self._timeout(settings.get("timeout"))
        on_error = self._on_error(settings.get("on_error"))
        max_body_bytes = self._max_body(settings.get("max_body"))
        return Adapter(name, url, timeout_seconds, on_error, max_body_bytes) if url else None

    def _url(self, place: Place) -> str | None:
        if place.scalar is None:
            self._note(place, f'must be a URL, or a mapping with "url"{_but_is(place)}')
            return None
        try:
            AdapterUrl.parse(place.scalar)
        except ValueError as exc:
            self._note(place, f"{exc}: {quoted(place.scalar)}")
            return None
        return place.scalar

    def _timeout(self, place: Place | None) -> float:
        if place is None:
            return DEFAULT_TIMEOUT_SECONDS
        number = place.number
        if number is None or not 0 < number <= MAX_TIMEOUT_SECONDS or not isfinite(number):
            self._note(
                place,
                f"must be a number of seconds above 0, {MAX_TIMEOUT_SECONDS} (a week) at most"
                + _but_is(place),
            )
            return DEFAULT_TIMEOUT_SECONDS
        return float(number)

    def _on_error(self, place: Place | None) -> OnError:
        if place is None:
            return OnError.FAIL
        try:
            return OnError(place.scalar)
        except ValueError:
            self._note(place, f'must be "fail" or "ignore"{_but_is(place)}')
            return OnError.FAIL

    def _max_body(self, place: Place | None) -> int:
        if place is None:
            return DEFAULT_MAX_BODY_BYTES
        number = place.number
        if not isinstance(number, int) or number <= 0:
            self._note(place, f"must be a whole number of bytes above 0{_but_is(place)}")
            return DEFAULT_MAX_BODY_BYTES
        return number

    def _endpoints(self, section: Place) -> list[Endpoint]:
        entries = self._entries(section, "a mapping of patterns to hooks (which may be {})")
        endpoints = []
        for text, (key, value) in (entries or {}).items():
            pattern = self._pattern(text, key)
            pre, post = self._hooks(value)
            if pattern:
                endpoints.append(Endpoint(pattern, pre, post))
        return endpoints

    def _pattern(self, text: str, key: Place) -> EndpointPattern | None:
        if len(text) > MAX_PATTERN_CHARACTERS:
            self._note(key, f"{quoted(text)} is longer than {MAX_PATTERN_CHARACTERS} characters")
            return None
        try:
            return EndpointPattern.parse(text)
        except ValueError as exc:
            self._note(key, str(exc))
            return None

    def _hooks(self, place: Place) -> tuple[tuple[Adapter, ...], tuple[Adapter, ...]]:
        sides = {} if place.is_null else self._known_entries(place, ("pre", "post"))
        if sides is None:
            return (), ()
        if not sides:
            self._note(place, 'needs the key "pre" or "post", a list of adapters')
        pre = self._chain(sides["pre"]) if "pre" in sides else ()
        post = self._chain(sides["post"]) if "post" in sides else ()
        return pre, post

    def _chain(self, place: Place) -> tuple[Adapter, ...]:
        if place.items is None:
            self._note(place, f"must be a list of adapters, such as [weave]{_but_is(place)}")
            return ()
        if len(place.items) > MAX_CHAIN:
            self._note(place, f"has more than {MAX_CHAIN} adapters")
        chain: dict[str, Adapter | None] = {}
        for item in place.items[:MAX_CHAIN]:
            name = item.scalar
            if name is None:
                self._note(item, f"must hold names of adapters only{_but_is(item)}")
            elif name in chain:
                self._note(item, f"adapter {quoted(name)} is in this list already")
            else:
                chain[name] = self._called(name, item)
        return tuple(adapter for adapter in chain.values() if adapter)

    def _called(self, name: str, item: Place) -> Adapter | None:
        self.used.add(name)
        if name not in self.adapters:
            # A search that costs much, so not for more problems than are shown.
            meant = _meant(name, self.adapters) if len(self.problems) < _MAX_PROBLEMS else []
            self.used.update(meant)
            self._note(
                item,
                f'adapter {quoted(name)} is not defined under "adapters"{_did_you_mean(meant)}',
            )
        return self.adapters.get(name)

    def _note_unused(self, names: dict[str, Place]) -> None:
        for name, key in names.items():
            if name not in self.used:
                self._note(key, f"adapter {quoted(name)} is not called by any endpoint")

    def _known_entries(self, place: Place, known: tuple[str, ...]) -> dict[str, Place] | None:
        """
        Reads a mapping whose keys are given.
        """
        wanted = ", ".join(f'"{key}"' for key in known)
        entries = self._entries(place, f"a mapping with the keys {wanted}")
        if entries is None:
            return None
        for name, (key, _) in entries.items():
            if name not in known:
                suggestion = _did_you_mean(_meant(name, known)) or f" (known are {wanted})"
                self._note(key, f"unknown key {quoted(name)}{suggestion}")
        return {name: value for name, (_, value) in entries.items() if name in known}

    def _entries(self, place: Place, wanted: str) -> dict[str, tuple[Place, Place]] | None:
        """
        Reads a mapping, in which each key must stand once.
        """
        if place.entries is None:
            self._note(place, f"must be {wanted}{_but_is(place)}")
            return None
        entries: dict[str, tuple[Place, Place]] = {}
        for key, value in place.entries:
            name = key.scalar
            if name is None:
                self._note(key, f"a key must be text{_but_is(key)}")
            elif name in entries:
                line = entries[name][0].line
                self._note(key, f"the key {quoted(name)} stands on line {line} already")
            else:
                entries[name] = (key, value)
        return entries

    def _note(self, place: Place, sentence: str) -> None:
        self.problems.append(_Problem(place.line, place.keys, sentence))


def _but_is(place: Place) -> str:
    """
    What stands in the file instead of what should.
    """
    if place.entries is not None:
        return ", not a mapping"
    if place.items is not None:
        return ", not a list"
    if place.is_null:
        return ", not empty"
    return ", not a value with a tag" if place.scalar is None else f", not {quoted(place.scalar)}"


def _meant(name: str, known: Iterable[str]) -> list[str]:
    return get_close_matches(name[:MAX_PATTERN_CHARACTERS], list(known), n=1)


def _did_you_mean(meant: list[str]) -> str:
    return "".join(f" (did you mean {quoted(name)}?)" for name in meant)
