"""The rivals of the task workloads, each as its manual recommends it where work must not be lost.

Those of npm and of Python are driven by a program in their own language (rivals/*-queues/driver.*), which
submits by their own library; over HTTP they are asked directly, without an nginx in front."""

import functools
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from glob import glob

from contenders import CORES, REPOSITORY, RIVALS as FOLDER, start_server, without
from processes import BenchError, free_port
from tasks import beanstalkd, threads
from tasks.heddle import BATCH, encode, sleep_task
from tasks.load import http_load

NODE, PYTHON = FOLDER / "node-queues", FOLDER / "python-queues"
PYTHON_PATH = {"PYTHONPATH": str(PYTHON)}
NPM_SECONDS = 300
DRIVER_SECONDS = 600
POSTGRES_BIN = max(glob("/usr/lib/postgresql/*/bin"), default="",
                   key=lambda path: path.split("/")[-2].zfill(3))


# Servers that rivals need

def start_redis(bench):
    """Each write is on disk before its answer; nothing is ever evicted."""
    port = free_port()
    data = bench.fresh_data("redis")
    process = bench.processes.start("redis", [
        "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", data, "--save", "",
        "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"])
    bench.processes.wait_for_listener(process, ("127.0.0.1", port))
    return {"redis": process}, {"REDIS_PORT": str(port)}


def start_postgres(bench):
    """With its default settings, which are durable. It refuses to be root: then it is the package's user."""
    data = bench.fresh_data("postgres")
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other:
        shutil.chown(data, "postgres")
    initdb = [*other, f"{POSTGRES_BIN}/initdb", "-D", data / "db", "-U", "bench", "-A", "trust", "--no-sync"]
    made = subprocess.run(initdb, capture_output=True, text=True, cwd="/")
    if made.returncode != 0:
        raise BenchError(f"initdb: {made.stderr[-500:]}")
    port = free_port()
    process = bench.processes.start("postgres", [
        *other, f"{POSTGRES_BIN}/postgres", "-D", data / "db", "-p", port, "-c", "listen_addresses=127.0.0.1",
        "-c", "unix_socket_directories="])
    bench.processes.wait_for_listener(process, ("127.0.0.1", port))
    return {"postgres": process}, {"PG_URL": f"postgres://bench@127.0.0.1:{port}/postgres"}


# Programs that drive a rival

def run_driver(bench, name, argv, env):
    """Runs it to its end; returns the figures it prints last."""
    process = bench.processes.start(name, argv, env=env, stdout=subprocess.PIPE)
    try:
        output, _ = process.communicate(timeout=DRIVER_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{name} did not end within {DRIVER_SECONDS} s") from None
    if process.returncode != 0:
        raise BenchError(f"{name} failed: {bench.processes.log_tail(process)}")
    return json.loads(output.splitlines()[-1])


def driven(start_store, argv, command):
    """A measure: the driver's command with the arguments that `command(scale)` gives."""
    def measure(bench, scale):
        _, env = start_store(bench)
        arguments = command(scale)
        return run_driver(bench, f"driver-{arguments[0]}", [*argv(), *arguments], env | PYTHON_PATH)
    return measure


def commands(start_store, argv, drained, workloads):
    """The measures of those workloads by a driver; `drained` tasks are submitted to their end."""
    known = {
        "T3": lambda scale: ["batches", scale.count(100_000), BATCH, 1],
        "T3b": lambda scale: ["batches", scale.count(100_000), BATCH, 4],
        "T4": lambda scale: ["drain", scale.count(drained), BATCH],
        "T5": lambda scale: ["latency", scale.count(1000) // 2, int(1000 * scale.gap)],
        "T6": lambda scale: ["restart", scale.count(1000), int(scale.patience)],
    }
    return {name: driven(start_store, argv, known[name]) for name in workloads}


def over_http(start_store, start_front, start_workers, clients):
    """A measure: POSTs to the rival's web server while its workers do the tasks."""
    def measure(bench, scale):
        processes, env = start_store(bench)
        port, front = start_front(bench, env)
        processes = processes | front | start_workers(bench, env)
        return http_load(bench, port, encode(sleep_task()["payload"]), clients, scale, processes)[0]
    return measure


def fronts(start_store, start_front, start_workers):
    return {name: over_http(start_store, start_front, start_workers, clients)
            for name, clients in (("T1", 64), ("T2", 1))}


# Queues of npm, installed once for each list of versions

def npm_folder():
    digest = hashlib.sha256((NODE / "package.json").read_bytes()).hexdigest()[:12]
    return REPOSITORY / "build/bench-npm" / digest


@functools.cache
def npm_install():
    """Why the packages cannot be had, or nothing."""
    folder = npm_folder()
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(NODE / "package.json", folder)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS)
        except subprocess.TimeoutExpired:
            return f"npm install took more than {NPM_SECONDS} s"
        if done.returncode != 0:
            return "npm install failed: " + " ".join(done.stderr.split())[:200]
        (folder / "installed").touch()
    for source in NODE.glob("*.js"):
        shutil.copy(source, folder)
    return None


def npm_missing(*programs):
    return lambda _: without("node", "npm", *programs) or npm_install()


def node_rival(name, start_store, drained, workloads):
    def argv():
        return ["node", npm_folder() / "driver.js", name]

    def front(bench, env):
        port = free_port()
        process = bench.processes.start(f"{name}-front", [*argv(), "serve", port], env=env)
        bench.processes.wait_for_listener(process, ("127.0.0.1", port))
        return port, {"front": process}

    def workers(bench, env):
        return {"worker": bench.processes.start(f"{name}-worker", [*argv(), "work"], env=env)}

    return commands(start_store, argv, drained, workloads) | fronts(start_store, front, workers)


# Queues of Python

def python_missing(*modules):
    def missing(_):
        absent = [name for name in modules if not importlib.util.find_spec(name)]
        return f"Python modules not found: {', '.join(absent)}" if absent else without("redis-server")
    return missing


GUNICORN = ["-m", "gunicorn", "front:app", "--chdir", PYTHON, "--bind", "127.0.0.1:{port}", "--backlog", 4096,
            "--keep-alive", 60, "--worker-class", "gthread", "--workers", 2 * CORES + 1, "--threads", 16,
            "--graceful-timeout", 1, "--log-level", "warning"]


def python_front(queue):
    def start(bench, env):
        env = env | {"QUEUE": queue, "PYTHONDONTWRITEBYTECODE": "1"}
        return start_server(bench, f"{queue}-front", [sys.executable, *GUNICORN], [], **env)
    return start


def python_workers(queue):
    """As many as the manual says: one for each core."""
    def start(bench, env):
        argv = [sys.executable, PYTHON / "driver.py", queue, "work"]
        return {"worker": bench.processes.start(f"{queue}-worker", argv, env=env | PYTHON_PATH)}
    return start


def python_rival(queue, drained, workloads):
    def argv():
        return [sys.executable, "-B", PYTHON / "driver.py", queue]
    return (commands(start_redis, argv, drained, workloads) |
            fronts(start_redis, python_front(queue), python_workers(queue)))


def no_store(_):
    return {}, {}


def no_workers(*_):
    return {}


def postgres_missing(_):
    return None if POSTGRES_BIN else "postgresql not found"


RIVALS = [
    ("bullmq", "BullMQ, fastify (Redis, appendfsync always)", npm_missing("redis-server"),
     node_rival("bullmq", start_redis, 30_000, ["T3", "T3b", "T4", "T5", "T6"])),
    ("pgboss", "pg-boss, fastify (PostgreSQL)", lambda bench: postgres_missing(bench) or npm_missing()(bench),
     node_rival("pgboss", start_postgres, 50_000, ["T3", "T3b", "T4", "T6"])),
    ("graphile", "graphile-worker, fastify (PostgreSQL)",
     lambda bench: postgres_missing(bench) or npm_missing()(bench),
     node_rival("graphile", start_postgres, 50_000, ["T3", "T3b", "T4", "T5", "T6"])),
    ("beanstalkd", "beanstalkd -f0", lambda _: without("beanstalkd"), beanstalkd.MEASURES),
    ("celery", "Celery, Flask (Redis, appendfsync always)",
     python_missing("celery", "redis", "flask", "gunicorn"),
     python_rival("celery", 5_000, ["T4", "T5", "T6"])),
    ("rq", "RQ, Flask (Redis, appendfsync always)", python_missing("rq", "redis", "flask", "gunicorn"),
     python_rival("rq", 1_000, ["T4", "T5"])),
    ("thread", "Flask, a thread per task (nothing durable)", python_missing("flask", "gunicorn"),
     fronts(no_store, python_front("thread"), no_workers) | {"T7": threads.two_cores}),
]
