"""Drives Celery or RQ: driver.py QUEUE COMMAND [ARGUMENT..]; prints its figures as a line of JSON."""

import json
import os
import socket
import subprocess
import sys
import time

from redis import Redis

WAIT = 30
queue = __import__(f"{sys.argv[1]}_queue")
redis = Redis(port=int(os.environ["REDIS_PORT"]))
heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
heard.bind(("127.0.0.1", 0))
PORT = heard.getsockname()[1]


def start(concurrency=None):
    """In our own process group, so that nothing outlives us."""
    return [subprocess.Popen(argv) for argv in queue.workers(concurrency)]


def stop(workers):
    for worker in workers:
        worker.kill()
        worker.wait()


def hear(count, seconds):
    """When the last of so many tasks has begun; None when not within the time."""
    deadline, last = time.monotonic() + seconds, None
    for _ in range(count):
        heard.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            last = int(heard.recv(64)) / 1e9
        except TimeoutError:
            return None
    return last


def wait_until_up():
    queue.enqueue({"port": PORT, "duration": 0})
    if hear(1, WAIT) is None:
        sys.exit("the workers do not start")


def work():
    for worker in start():
        worker.wait()


def drain(count, _):
    wait_until_up()
    begun = time.monotonic()
    for _ in range(count):
        queue.enqueue({"duration": 0})
    while queue.left(redis) > 0:
        time.sleep(0.02)
    return {"tasks/s": count / (time.monotonic() - begun), "tasks": count}


def latency(count, gap_ms):
    wait_until_up()
    took = []
    for _ in range(count):
        begun = time.monotonic()
        queue.enqueue({"port": PORT, "duration": 0})
        took.append(1000 * (hear(1, WAIT) - begun))
        time.sleep(gap_ms / 1000)
    took.sort()
    return {"p50 ms": took[(count - 1) // 2], "p99 ms": took[-(-count * 99 // 100) - 1]}


def restart(count, patience):
    global workers
    for _ in range(count):
        queue.enqueue({"port": PORT, "duration": 3600})
    if hear(count, 60) is None:
        sys.exit(f"{count} tasks do not run at once")
    stop(workers)
    begun = time.monotonic()
    workers = start(count)
    last = hear(count, patience)
    return {"seconds": last and last - begun, "tasks": count}


command, numbers = sys.argv[2], [int(text) for text in sys.argv[3:]]
if command == "work":
    work()
workers = start(numbers[0] if command == "restart" else None)
try:
    print(json.dumps(globals()[command](*numbers)))
finally:
    stop(workers)
