"""The mock upstream (tests/mock): answers as the query string asks, and counts what it was asked."""

import json
import subprocess
import urllib.parse
import urllib.request

from harness.build import MOCK_UPSTREAM
from harness.programs import Program

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class MockUpstream(Program):
    def __init__(self, directory, ports=1):
        super().__init__("mock-upstream", [MOCK_UPSTREAM, "--port", 0, "--ports", ports], directory,
                         stdout=subprocess.PIPE, text=True)
        word, *self.origins = self.process.stdout.readline().split()
        assert word == "listening"

    def url(self, path="/", scheme="http", origin=0, **query):
        """A URL of the upstream; `query` as tests/mock/params.c describes it, text or bytes."""
        pairs = [f"{name}={urllib.parse.quote(value if isinstance(value, bytes) else str(value), safe='')}"
                 for name, value in query.items()]
        return f"{scheme}://{self.origins[origin]}{path}" + ("?" + "&".join(pairs) if pairs else "")

    def stats(self):
        with _opener.open(f"http://{self.origins[0]}/_stats", timeout=20) as answer:
            return json.load(answer)
