"""Who is measured. All answer /health/live, and all but the limit /concurrent_requests/ in heddle's shape."""

import getpass
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from processes import BenchError, free_port

HERE = Path(__file__).parent
RIVALS = HERE / "rivals"
REPOSITORY = HERE.parent.parent
NGINX = REPOSITORY / "nginx"
HEDDLE = Path(os.environ.get("HEDDLE", REPOSITORY / "build/heddle")).absolute()
LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
CORES = os.cpu_count()


@dataclass(frozen=True)
class Contender:
    """`missing()` says what it lacks here, or nothing. `start(bench, urls)` starts it and returns its
    port and its processes: those named as the contender are its own, others stand in front of it."""
    name: str
    title: str
    missing: object
    start: object
    fans_out: bool = True
    warms_up: bool = True  # does it keep connections, so that a first load makes the next one faster?
    may_fail: bool = True  # are errors under load a result to be shown, not a defect of ours?


def fill(template, target, **values):
    """Write `template` to `target` with each @NAME@ replaced; one that has no value is an error."""
    values |= {"USER": getpass.getuser(), "CORES": CORES, "HERE": template.parent}
    text = re.sub(r"@([A-Z_]+)@", lambda match: str(values[match[1]]), template.read_text())
    target.write_text(text)
    return target


def without(*programs):
    """What is missing when these programs are not all there."""
    absent = [str(program) for program in programs if not shutil.which(program)]
    return f"{', '.join(absent)} not found" if absent else None


def start_nginx(bench, name, template, **values):
    port = free_port()
    prefix = bench.directory / f"{name}-nginx"
    prefix.mkdir(exist_ok=True)
    config = fill(template, prefix / "nginx.conf", PORT=port, DESCRIPTORS=bench.descriptors, **values)
    process = bench.processes.start(name, ["nginx", "-e", "stderr", "-p", prefix, "-c", config])
    bench.processes.wait_for_listener(process, ("127.0.0.1", port))
    return port, process


def start_server(bench, name, argv, urls, **env):
    """Start a program that takes PORT and URLS from its environment; `{port}` in `argv` is its port too."""
    port = free_port()
    argv = [str(arg).replace("{port}", str(port)) for arg in argv]
    process = bench.processes.start(name, argv, env={"PORT": str(port), "URLS": " ".join(urls)} | env)
    bench.processes.wait_for_listener(process, ("127.0.0.1", port))
    return port, {name: process}


# heddle with its defaults, behind nginx as the project configures it

HEDDLE_CONFIG = """\
listen: unix:{socket}
concurrent_requests:
  urls:
{urls}
"""


def heddle_missing():
    return without("nginx", HEDDLE)


def start_heddle(bench, urls):
    socket = bench.directory / "heddle.sock"
    config = bench.directory / "heddle.yaml"
    items = "\n".join(f'    - "{url}"' for url in urls)
    config.write_text(HEDDLE_CONFIG.format(socket=socket, urls=items))
    heddle = bench.processes.start("heddle", [HEDDLE, "serve", "-c", config])
    bench.processes.wait_for_listener(heddle, str(socket))
    port, nginx = start_nginx(bench, "nginx", NGINX / "run.conf.in", NGINX=NGINX, HEDDLE=f"unix:{socket}")
    return port, {"heddle": heddle, "nginx": nginx}


# nginx's own answer: the limit

def start_return200(bench, _):
    port, process = start_nginx(bench, "return200", RIVALS / "return200/nginx.conf.in")
    return port, {"return200": process}


# nginx + Lua

LUA_UPSTREAM = """
    upstream origin{number} {{
        server {host};
        keepalive 2048;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
"""

LUA_LOCATION = """
        location = /origin/{number} {{
            internal;
            proxy_pass {scheme}://origin{number}{path};
        }}
"""


LUA_TLS = """
    proxy_ssl_verify on;
    proxy_ssl_name localhost;
    proxy_ssl_trusted_certificate {certificate};
    proxy_ssl_protocols TLSv1.2 TLSv1.3;
"""


def lua_missing():
    absent = None if LUA_MODULE.exists() else f"{LUA_MODULE} not found (libnginx-mod-http-lua)"
    return without("nginx") or absent


def start_lua(bench, urls, certificate=None):
    """`certificate` is what its TLS trusts."""
    upstreams, locations = "", ""
    for number, url in enumerate(urls, 1):
        scheme, host, path = re.fullmatch(r"(https?)://([^/]+)(/.*)", url).groups()
        upstreams += LUA_UPSTREAM.format(number=number, host=host)
        locations += LUA_LOCATION.format(number=number, scheme=scheme, path=path)
    port, process = start_nginx(bench, "lua", RIVALS / "lua/nginx.conf.in", UPSTREAMS=upstreams,
                                LOCATIONS=locations, URLS=", ".join(f'"{url}"' for url in urls),
                                TLS=LUA_TLS.format(certificate=certificate) if certificate else "")
    return port, {"lua": process}


# Go

def go_binary(bench, rival):
    binary = bench.directory / f"{rival}-rival"
    if not binary.exists():
        command = ["go", "build", "-o", binary, RIVALS / rival / "main.go"]
        build = subprocess.run(command, capture_output=True, text=True)
        if build.returncode != 0:
            raise BenchError(f"go build:\n{build.stderr}")
    return binary


def start_go(bench, urls):
    return start_server(bench, "go", [go_binary(bench, "go")], urls)


# Node

def start_node(bench, urls):
    return start_server(bench, "node", ["node", RIVALS / "node/server.js"], urls)


# Flask under gunicorn, with as many processes as gunicorn's manual asks for

def flask_missing():
    absent = [name for name in ("flask", "gunicorn", "requests") if not importlib.util.find_spec(name)]
    return f"Python modules not found: {', '.join(absent)}" if absent else None


def start_flask(name, pool):
    def start(bench, urls):
        gunicorn = [sys.executable, "-m", "gunicorn", "app:app", "--chdir", RIVALS / "flask",
                    "--bind", "127.0.0.1:{port}", "--backlog", 4096, "--keep-alive", 60,
                    "--worker-class", "gthread", "--workers", 2 * CORES + 1, "--threads", 16,
                    "--graceful-timeout", 1, "--log-level", "warning"]
        return start_server(bench, name, gunicorn, urls, POOL=str(pool), PYTHONDONTWRITEBYTECODE="1")
    return start


CONTENDERS = [
    Contender("heddle", "heddle", heddle_missing, start_heddle, may_fail=False),
    Contender("return200", "nginx `return 200`", lambda: without("nginx"), start_return200, fans_out=False),
    Contender("lua", "nginx + Lua", lua_missing, start_lua),
    Contender("go", "Go net/http", lambda: without("go"), start_go),
    Contender("node", "Node http", lambda: without("node"), start_node),
    Contender("flask", "Flask, pool of 5", flask_missing, start_flask("flask", 5), warms_up=False),
    Contender("flask10", "Flask, pool of 10", flask_missing, start_flask("flask10", 10), warms_up=False),
]
