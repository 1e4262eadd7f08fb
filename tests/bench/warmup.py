"""Warms a server up as wrk cannot: to the last answer. A client that goes away in mid request makes a good
server drop that request's fetches, and with them the very connections that were to be warm."""

import asyncio
import time

LEAST_SECONDS = 1
LEAST_ROUNDS = 2
ANSWER_SECONDS = 30


async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()


async def ask_all(port, path, clients):
    """As many requests at once as there are clients; errors are left for the timed run to show."""
    requests = [asyncio.wait_for(ask(port, path), ANSWER_SECONDS) for _ in range(clients)]
    await asyncio.gather(*requests, return_exceptions=True)


def warm_up(port, path, clients):
    start, rounds = time.monotonic(), 0
    while rounds < LEAST_ROUNDS or time.monotonic() - start < LEAST_SECONDS:
        asyncio.run(ask_all(port, path, clients))
        rounds += 1
