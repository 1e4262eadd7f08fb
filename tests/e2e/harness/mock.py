"""The mock upstream (tests/mock): answers as the query string asks, and counts what it was asked."""

import json
import subprocess
import urllib.parse
import urllib.request

from harness.build import MOCK_UPSTREAM
from harness.programs import Program

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class MockUpstream(Program):
    def __init__(self, directory, ports=1, address="127.0.0.1", port=0, name="mock-upstream"):
        command = [MOCK_UPSTREAM, "--address", address, "--port", port, "--ports", ports]
        super().__init__(name, command, directory, stdout=subprocess.PIPE, text=True)
        word, *self.origins = self.process.stdout.readline().split()
        assert word == "listening"

    @property
    def port(self):
        return int(self.origins[0].partition(":")[2])

    def url(self, path="/", scheme="http", origin=0, **query):
        """A URL of the upstream; `query` as tests/mock/params.c describes it, text or bytes."""
        pairs = [f"{name}={urllib.parse.quote(value if isinstance(value, bytes) else str(value), safe='')}"
                 for name, value in query.items()]
        return f"{scheme}://{self.origins[origin]}{path}" + ("?" + "&".join(pairs) if pairs else "")

    def read(self, path, method="GET", **query):
        request = urllib.request.Request(self.url(path, **query), method=method)
        with _opener.open(request, timeout=20) as answer:
            return json.load(answer)

    def stats(self):
        return self.read("/_stats")

    def mode(self, **query):
        """From now on all requests are answered as if this stood in their query, too; nothing: as before."""
        self.read("/_mode", "POST", **query)

    def count(self, key):
        """Requests with this key."""
        return self.read("/_count", key=key)["count"]

    def gone(self, key):
        """When clients left requests with this key (or path): seconds, as time.monotonic counts them."""
        return [at / 1e6 for at in self.read("/_gone", key=key)["gone"]]

    def requests(self, key):
        """The requests with this key (or path) and record=1."""
        return self.read("/_requests", key=key)["requests"]
