"""The mock upstream: ten origins that answer after a chosen delay and count what they were asked."""

import json
import subprocess
import time
import urllib.error
import urllib.request

from processes import BenchError

ORIGINS = 10
PROCESSES = 2
BODY_BYTES = 1024
IDLE_SECONDS = 5
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url, timeout=10, any_status=False):
    """Status and body; without `any_status` an HTTPError for an error."""
    try:
        with OPENER.open(url, timeout=timeout) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        if not any_status:
            raise
        return error.code, error.read()


def check_answer(url, bodies, delay_ms):
    """One request: all URLs answered, each with the first 100 characters of what it answers directly."""
    start = time.monotonic()
    status, text = get(url)
    took_ms = 1000 * (time.monotonic() - start)
    if status != 200:
        raise BenchError(f"{url}: status {status}")
    if not bodies:
        return
    results = json.loads(text)["results"]
    contents = {result["url"]: result.get("content") for result in results}
    expected = {url: body[:100] for url, body in bodies.items()}
    if len(results) != len(bodies) or contents != expected:
        raise BenchError(f"{url}: wrong answer: {text.decode()[:2000]}")
    if took_ms < delay_ms:
        raise BenchError(f"{url}: answered in {took_ms:.0f} ms what takes {delay_ms} ms")


class Upstream:
    def __init__(self, processes, program):
        self.processes = processes
        command = [program, "--address", "127.0.0.1", "--port", 0,
                   "--ports", ORIGINS, "--processes", PROCESSES]
        self.process = processes.start("upstream", command, stdout=subprocess.PIPE)
        words = self.process.stdout.readline().decode().split()
        if words[:1] != ["listening"]:
            raise BenchError(f"the mock upstream did not start:\n{processes.log_tail(self.process)}")
        self.origins = words[1:]

    def check_alive(self):
        """Without an upstream no contender can be right: the bench ends."""
        if self.process.poll() is not None:
            raise BenchError(f"the mock upstream ended:\n{self.processes.log_tail(self.process)}")

    def urls(self, delay_ms):
        return [f"http://{origin}/?delay={delay_ms}&size={BODY_BYTES}" for origin in self.origins]

    def bodies(self, delay_ms):
        """What each URL answers, asked directly."""
        return {url: get(url)[1].decode() for url in self.urls(delay_ms)}

    def stats(self, name):
        """The sum of one counter over all processes: each has its own, and origin i is on process i % K."""
        return sum(json.loads(get(f"http://{origin}/_stats")[1])[name] for origin in self.origins[:PROCESSES])

    def requests(self):
        return self.stats("requests")

    def wait_until_idle(self):
        """Wait, but not for ever, for the end of what a client that has gone had asked for."""
        deadline = time.monotonic() + IDLE_SECONDS
        while self.stats("in_flight") > 0 and time.monotonic() < deadline:
            time.sleep(0.02)
