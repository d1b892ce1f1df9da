"""
POSTs one hook's JSON to an adapter again and again by treq, as little as it can be done with.

I/O: one connection that is kept alive. Prints one line of JSON, as the load program does.

    python -m bench.bare_post URL MILLISECONDS JSON
"""

from __future__ import annotations

import json
import sys
import time
from statistics import quantiles

import treq
from twisted.internet import task
from twisted.internet.interfaces import IReactorCore
from twisted.web.client import HTTPConnectionPool


async def post(reactor: IReactorCore, url: str, milliseconds: int, payload: bytes) -> None:
    """
    Measure for so long, after a fifth of that to warm up.
    """
    pool = HTTPConnectionPool(reactor)
    headers = {"Content-Type": "application/json"}
    begin = time.monotonic() + milliseconds / 5000
    taken: list[float] = []
    while (started := time.monotonic()) < begin + milliseconds / 1000:
        response = await treq.post(url, data=payload, headers=headers, pool=pool)
        await treq.content(response)
        if response.code != 200:
            raise SystemExit(f"{url} answered with status {response.code}")
        if started >= begin:
            taken.append((time.monotonic() - started) * 1e6)
    await pool.closeCachedConnections()
    hundredths = quantiles(taken, n=100)
    print(json.dumps({"count": len(taken), "p50_us": hundredths[49], "p99_us": hundredths[98]}))


if __name__ == "__main__":
    url, milliseconds, payload = sys.argv[1:]
    task.react(post, [url, int(milliseconds), payload.encode()])
