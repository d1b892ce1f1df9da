"""
Asks a server again and again, whether or not it has answered, and prints when it did, and what.

The next request goes out when it is due: one that hangs holds nobody up, as with many clients.
It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

INTERVAL_SECONDS = 0.02
PATIENCE_SECONDS = 1.0


async def ask(address: str) -> None:
    """
    One request. What answers it is printed behind the time of the answer.
    """
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(address, 80)
            writer.write(b"GET /index.html HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
            if answer:
                print(time.monotonic(), answer.split()[-1].decode(), flush=True)


async def main(address: str) -> None:
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    requests = set()
    while not ended.done():
        requests.add(asyncio.create_task(ask(address)))
        requests = {request for request in requests if not request.done()}
        await asyncio.sleep(INTERVAL_SECONDS)
    for request in requests:
        request.cancel()


asyncio.run(main(sys.argv[1]))
