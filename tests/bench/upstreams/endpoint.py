"""U11: an endpoint of five parts, one of which needs another's answer; by heddle, and by programs written for
it."""

import json
from dataclasses import dataclass

from contenders import RIVALS, go_binary, start_server
from processes import BenchError
from upstream import get
from upstreams.heddle import Heddle
from upstreams.load import loaded
from upstreams.origin import Origins

CLIENTS = 32
PATH = "/api/customers/17"
PARTS = 5


@dataclass
class Server:
    port: int
    processes: dict


def start_heddle(bench, origins):
    return Heddle(bench, "endpoint.yaml.in", UPSTREAM=origins.port)


def start_go(bench, origins):
    argv = [go_binary(bench, "go-endpoint")]
    return Server(*start_server(bench, "go", argv, [f"http://127.0.0.1:{origins.port}"]))


def start_node(bench, origins):
    argv = ["node", RIVALS / "node-endpoint/server.js"]
    return Server(*start_server(bench, "node", argv, [f"http://127.0.0.1:{origins.port}"]))


def check(server, origins):
    """Each part is there, as the upstream answers it directly."""
    status, text = get(f"http://127.0.0.1:{server.port}{PATH}")
    answer = json.loads(text)
    paths = {"profile": "profiles/17", "orders": "orders/17", "invoices": "invoices/17",
             "tickets": "tickets/17", "balance": "accounts/a-17"}
    parts = {name: json.loads(get(f"http://127.0.0.1:{origins.port}/{path}")[1])
             for name, path in paths.items()}
    if status != 200 or not answer["complete"] or answer["parts"] != parts:
        raise BenchError(f"wrong answer: {text.decode()[:2000]}")


def endpoint(start):
    def run(bench, scale):
        origins = Origins(bench)
        server = start(bench, origins)
        check(server, origins)
        figures, completed, fetches = loaded(bench, server, PATH, CLIENTS, scale.seconds, origins.requests)
        if fetches < PARTS * completed:
            raise BenchError(f"{completed} answers made only {fetches} fetches")
        return figures
    return run
