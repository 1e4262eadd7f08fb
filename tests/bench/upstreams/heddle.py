"""heddle with a configuration made from a template beside this file, behind nginx as the project has it."""

import json
from pathlib import Path

from contenders import HEDDLE, NGINX, fill, start_nginx, without
from processes import BenchError
from upstream import get

HERE = Path(__file__).parent


def missing(_):
    return without("nginx", HEDDLE)


class Heddle:
    def __init__(self, bench, template, **values):
        socket = bench.directory / "heddle.sock"
        config = fill(HERE / template, bench.directory / "heddle.yaml", SOCKET=socket, **values)
        self.process = bench.processes.start("heddle", [HEDDLE, "serve", "-c", config])
        bench.processes.wait_for_listener(self.process, str(socket))
        self.port, nginx = start_nginx(bench, "nginx", NGINX / "run.conf.in", NGINX=NGINX,
                                       HEDDLE=f"unix:{socket}")
        self.processes = {"heddle": self.process, "nginx": nginx}

    def ask(self, path, expected=200):
        """One request and its answer's JSON."""
        status, body = get(f"http://127.0.0.1:{self.port}{path}", any_status=True)
        if status != expected:
            raise BenchError(f"{path}: status {status} instead of {expected}: {body[:500].decode()}")
        return json.loads(body)
