"""
What is measured over the engine stub.

I/O: each measure runs the load program at one candidate, and looks at what that costs its process.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import frozen

from bench.candidates import most_connections
from bench.results import Figures, Row, Target, at_least, at_most
from bench.stage import Adapter, Running, Stage
from powerstrip.core.payloads import ClientRequest, encode_pre_hook

ALL = ("powerstrip", "powerstrip-2", "haproxy", "socat", "mitmproxy", "direct")
FOR_BULK = ("powerstrip", "haproxy", "socat", "direct")
MIB = 1 << 20
GIB = 1 << 30
STREAMS = 10_000
MAX_GROWTH_MIB = 8.0

Take = Callable[[Stage, Running], Figures]


@frozen
class Measure:
    """
    Something that is done with each candidate in turn.
    """

    name: str
    candidates: tuple[str, ...]
    take: Take
    rows: tuple[Row, ...]
    fresh: bool = False
    """Whether it wants a process that has done nothing yet."""

    hooked: bool = False
    """Whether it wants the powerstrip that has hooks."""


def requests(what: str, target: str, connections: int) -> Measure:
    """
    Small requests, over connections that are kept alive.
    """

    def take(stage: Stage, running: Running) -> Figures:
        window = stage.sizes.milliseconds
        seen = stage.load("requests", running.address, connections, window, 0, "GET", target)
        return {
            "rate": seen["count"] / seen["seconds"],
            "p50": seen["p50_us"],
            "p99": seen["p99_us"],
        }

    title = f"{what}, {connections} connection{'s' * (connections > 1)}"
    targets = (at_least(1.0, "haproxy"),) if connections > 1 else ()
    rows = (
        Row("rate", title, "1/s", targets),
        Row("p50", f"{title}, p50", "µs"),
        Row("p99", f"{title}, p99", "µs"),
    )
    return Measure(f"{what}-{connections}", ALL, take, rows)


def bulk(name: str, title: str, words: str, *targets: Target) -> Measure:
    """
    A gibibyte through one connection.

    Args:
        words: Those of the load program, with the address and the number of bytes left open.
    """

    def take(stage: Stage, running: Running) -> Figures:
        count = stage.sizes.bulk_bytes
        command = words.format(address=running.address, bytes=count).split()
        process = running.process
        if process is None:
            return {"rate": count / MIB / stage.load(*command)["seconds"]}
        process.forget_peak()
        resident, cpu = process.resident_kib(), process.cpu_seconds()
        seconds = stage.load(*command)["seconds"]
        used = process.cpu_seconds() - cpu
        figures = {
            "rate": count / MIB / seconds,
            "cpu": used * GIB / count,
            "busy": 100 * used / seconds,
        }
        if not running.candidate.forks:
            figures["peak"] = process.peak_kib() / 1024
            figures["grown"] = (process.peak_kib() - resident) / 1024
        return figures

    rows = (
        Row("rate", title, "MiB/s", targets),
        Row("cpu", f"{title}, CPU", "s/GiB"),
        Row("peak", f"{title}, memory", "MiB"),
        growth(title),
    )
    return Measure(name, FOR_BULK, take, rows)


def growth(title: str) -> Row:
    """
    How much more memory a proxy needed at one time than it had before.
    """
    return Row("grown", f"{title}, memory", "+MiB", (at_most(MAX_GROWTH_MIB),), compared=False)


def take_pingpong(stage: Stage, running: Running) -> Figures:
    seen = stage.load("pingpong", running.address, stage.sizes.milliseconds)
    return {"p50": seen["p50_us"], "p99": seen["p99_us"]}


def take_stall(stage: Stage, running: Running) -> Figures:
    """
    What a proxy's memory grows by when a reader stops, while the engine has more to send.
    """
    process = running.process
    assert process is not None
    resident = process.resident_kib()
    process.forget_peak()
    with stage.holding("stall", running.address, f"/download/length/{stage.sizes.bulk_bytes}"):
        time.sleep(stage.sizes.stall_seconds)
        return {"grown": (process.peak_kib() - resident) / 1024}


def take_idle(stage: Stage, running: Running) -> Figures:
    wanted = stage.sizes.idle_streams
    count = min(wanted, most_connections(), running.candidate.idle_limit or wanted)
    process = running.process
    stage.load("requests", running.address, 1, 0, 1, "GET", "/_ping")
    before = process.memory_kib() if process else 0
    with stage.holding("idle", running.address, count) as seen:
        figures = {"open": seen["seconds"] * STREAMS / count, "count": float(count)}
        if process is not None:
            figures["each"] = (process.memory_kib() - before) / count
        return figures


def hooks(adapter: str, count: int, connections: int, *targets: Target) -> Measure:
    """
    A small request with pre-hooks, and in place of the direct one a bare POST to the adapter.

    The client's own POST is in C; that by treq shows what the library takes that calls adapters.
    """

    def take(stage: Stage, running: Running) -> Figures:
        spoken_to = stage.adapters[adapter]
        target = hooked_target(spoken_to, count)
        payload = encode_pre_hook(ClientRequest("GET", target, None)).decode()
        words: tuple[str | int, ...] = (running.address, connections, stage.sizes.milliseconds, 0)
        if running.candidate.name == "treq":
            seen = stage.post_by_treq(spoken_to, payload)
            return {"p50": seen["p50_us"], "p99": seen["p99_us"]}
        if running.process is None:
            words = (spoken_to.port, *words[1:], "POST", spoken_to.path, payload)
        else:
            words = (*words, "GET", target)
        seen = stage.load("requests", *words)
        return {"p50": seen["p50_us"], "p99": seen["p99_us"]}

    number = {1: "one hook", 2: "two hooks"}[count]
    title = f"{number}, {adapter} adapter, {connections} connection{'s' * (connections > 1)}"
    rows = (Row("p50", f"{title}, p50", "µs", targets), Row("p99", f"{title}, p99", "µs"))
    name = f"hook-{adapter}-{count}-{connections}"
    posts = ("direct", "treq") if connections == 1 else ("direct",)
    return Measure(name, ("powerstrip", "powerstrip-2", *posts), take, rows, hooked=True)


def hooked_target(adapter: Adapter, count: int) -> str:
    """
    A request that has so many hooks of this adapter.
    """
    minor = {"fast": 30, "klein": 35}[adapter.name] + count
    return f"/v1.{minor}/_ping"


def hooks_config(adapters: list[Adapter]) -> str:
    """
    The configuration of a powerstrip that has hooks.
    """
    endpoints = [
        f'  "GET {hooked_target(adapter, count)}": {{pre: [{", ".join(names)}]}}'
        for adapter in adapters
        for count, names in enumerate([[adapter.name], [adapter.name, f"{adapter.name}-2"]], 1)
    ]
    urls = [
        f"  {name}: {adapter.url}"
        for adapter in adapters
        for name in (adapter.name, f"{adapter.name}-2")
    ]
    return "\n".join(["version: 1", "endpoints:", *endpoints, "adapters:", *urls, ""])


AS_HAPROXY = (at_least(1.0, "haproxy"), at_least(1.5, "socat"))
ABOVE_HAPROXY = (at_least(1.2, "haproxy"),)
ONE_HOOK = (at_most(1.5, "direct"), at_most(1.5, "treq"))
TWO_HOOKS = (at_most(3.0, "direct"), at_most(3.0, "treq"))

MEASURES = (
    *(requests("ping", "/_ping", connections) for connections in (1, 8, 64)),
    *(requests("list", "/v1.41/containers/json", connections) for connections in (1, 8, 64)),
    bulk("download", "download", "download {address} /download/length/{bytes}", *AS_HAPROXY),
    bulk(
        "chunked", "download, chunked", "download {address} /download/chunked/{bytes}", *AS_HAPROXY
    ),
    bulk("upload", "upload", "upload {address} {bytes} length", *AS_HAPROXY),
    bulk("upload-chunked", "upload, chunked", "upload {address} {bytes} chunked", *AS_HAPROXY),
    bulk("hijack-out", "hijacked, from the engine", "source {address} {bytes}", *ABOVE_HAPROXY),
    bulk("hijack-in", "hijacked, to the engine", "sink {address} {bytes}", *ABOVE_HAPROXY),
    Measure(
        "pingpong",
        FOR_BULK,
        take_pingpong,
        (
            Row("p50", "hijacked, 16 bytes there and back, p50", "µs", (at_most(1.5, "haproxy"),)),
            Row("p99", "hijacked, 16 bytes there and back, p99", "µs"),
        ),
    ),
    Measure(
        "stall",
        ("powerstrip", "haproxy"),
        take_stall,
        (growth("a reader that stops"),),
    ),
    Measure(
        "idle",
        FOR_BULK,
        take_idle,
        (
            Row("each", "idle stream, memory", "KiB", (at_most(8.0),)),
            Row("open", "10,000 idle streams opened", "s", (at_most(10.0),)),
        ),
        fresh=True,
    ),
    hooks("fast", 1, 1, *ONE_HOOK),
    hooks("fast", 2, 1, *TWO_HOOKS),
    hooks("fast", 1, 8, ONE_HOOK[0]),
    hooks("fast", 2, 8, TWO_HOOKS[0]),
    hooks("klein", 1, 1, *ONE_HOOK),
    hooks("klein", 2, 1, *TWO_HOOKS),
)
