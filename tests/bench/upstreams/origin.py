"""Ten upstreams that are one nginx. It answers by itself, with as many processes as there are cores, so that
it is not what everybody waits for; the mock upstream speaks no TLS."""

import subprocess
from pathlib import Path

from contenders import LUA_MODULE, fill, start_nginx
from processes import BenchError, Unavailable, free_port
from upstream import BODY_BYTES, ORIGINS, get

HERE = Path(__file__).parent
BODY = ("0123456789abcdef" * BODY_BYTES)[:BODY_BYTES]
TEXT = "lorem ipsum dolor sit amet, " * 7 + "consectetur"
MODULES = "\n".join(f"load_module {LUA_MODULE.parent}/{name};"
                    for name in ("ndk_http_module.so", "ngx_http_lua_module.so"))
LATER = ("content_by_lua_block {{ ngx.header.content_length = {size} ngx.sleep({seconds}) "
         "ngx.print('{body}') }}")
NO_LATER = "return 404;"
LISTEN = "        listen 127.0.0.1:{port} ssl http2 backlog=4096;"


def certificate(bench):
    """A certificate for this machine that is its own authority, and its key."""
    paths = bench.directory / "origin.pem", bench.directory / "origin.key"
    if not paths[0].exists():
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-out", paths[0], "-keyout", paths[1]], capture_output=True, text=True)
        if made.returncode != 0:
            raise BenchError(f"openssl: {made.stderr[-500:]}")
    return paths


class Origins:
    """`port` speaks plain HTTP; ten others speak TLS. `delay_ms` is what their slow answers take."""

    def __init__(self, bench, delay_ms=0):
        has_lua = LUA_MODULE.exists()
        if delay_ms and not has_lua:
            raise Unavailable(f"{LUA_MODULE} not found (libnginx-mod-http-lua), which delays the answers")
        later = LATER.format(seconds=delay_ms / 1000, size=BODY_BYTES, body=BODY) if has_lua else NO_LATER
        self.delay_ms = delay_ms
        self.certificate, key = certificate(bench)
        self.ports = [free_port() for _ in range(ORIGINS)]
        self.port, self.process = start_nginx(
            bench, "origin", HERE / "origin.conf.in", BODY=BODY, TEXT=TEXT,
            MODULES=MODULES if has_lua else "", LATER=later, CERTIFICATE=self.certificate, KEY=key,
            LISTEN="\n".join(LISTEN.format(port=port) for port in self.ports))

    def urls(self):
        path = "later" if self.delay_ms else "now"
        return [f"https://127.0.0.1:{port}/{path}" for port in self.ports]

    def bodies(self):
        return {url: BODY for url in self.urls()}

    def requests(self):
        """All that were answered; asking counts as well."""
        _, text = get(f"http://127.0.0.1:{self.port}/requests")
        return int(text.split()[9])
