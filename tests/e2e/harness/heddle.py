"""The program under test, each time with a configuration and a socket of its own."""

import json
import subprocess
import tempfile
from pathlib import Path

from harness.build import HEDDLE
from harness.fastcgi import Client, Connection
from harness.metrics import Metrics
from harness.programs import Program, clean_environment


READY = "heddle is ready"  # what it logs when all its parts have started


def socket_directory():
    """A folder with a short path: sun_path holds 107 bytes, and pytest's own folders are deep."""
    return tempfile.TemporaryDirectory(prefix="heddle-", dir="/tmp")


def to_yaml(value, indent=""):
    """YAML in block style. Texts are quoted as JSON does, which YAML reads alike."""
    if isinstance(value, dict) and value:
        return "".join(f"\n{indent}{name}:{to_yaml(item, indent + '  ')}" for name, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"\n{indent}- {json.dumps(item)}" for item in value)
    return f" {json.dumps(value, ensure_ascii=False)}"


def merge(base, changes):
    """`base` with `changes` in it, mapping by mapping."""
    both = {name: merge(base[name], value) if isinstance(value, dict) and name in base else value
            for name, value in changes.items()}
    return {**base, **both}


def run(*arguments, env=None, **options):
    """Run `heddle ARGUMENTS...` to its end; stdout and stderr are text."""
    return subprocess.run([HEDDLE, *map(str, arguments)], env=clean_environment() | (env or {}), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, **options)


class Heddle(Program):
    """Running on a unix socket. `urls` and `settings` go over the defaults below, `more_yaml` is the text of
    further sections; `wrapper` stands in front of the command, such as ["prlimit", "--nofile=64"]."""

    def __init__(self, directory, urls=(), name="heddle", wrapper=(), env=None, wait=True, socket=None,
                 close_fds=True, more_yaml="", **settings):
        self.directory = socket_directory()
        self.socket = Path(socket or f"{self.directory.name}/s")
        self.config = merge({
            "listen": f"unix:{self.socket}",
            "log": {"level": "info", "format": "text"},
            "fetch": {"timeout": "30s", "connect_timeout": "10s"},
            "concurrent_requests": {"urls": list(urls)},
            "tasks": {"store": f"sqlite:{directory}/{name}.tasks.db"},
        }, settings)
        self.config_path = directory / f"{name}.yaml"
        self.config_path.write_text(to_yaml(self.config).lstrip() + "\n" + more_yaml)
        super().__init__(name, [*wrapper, HEDDLE, "serve", "-c", self.config_path], directory, env,
                         close_fds=close_fds)
        if wait:
            self.wait_for_listener(self.address)

    @property
    def address(self):
        """Where it listens, as socket.connect wants it."""
        kind, _, rest = self.config["listen"].partition(":")
        if kind == "unix":
            return str(self.socket)
        host, _, port = rest.rpartition(":")
        return host, int(port)

    @property
    def address_for_nginx(self):
        return self.config["listen"].removeprefix("tcp:")

    def connect(self, **options):
        return Connection(self.address, **options)

    def ask(self, method, target, body=None, headers=None):
        return Client(self.address).ask(method, target, body, headers)

    def metrics(self):
        reply = self.ask("GET", "/metrics")
        assert reply.status == 200
        return Metrics(reply.body.decode())

    def metric(self, name, **labels):
        return self.metrics().value(name, **labels)
