"""RQ: a worker for each core; each forks for each task."""

import os
import sys

from redis import Redis
from rq import Queue

import jobs

URL = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
queue = Queue("bench", connection=Redis.from_url(URL))


def enqueue(payload):
    return queue.enqueue(jobs.run, payload).id


def workers(_=None):
    argv = [sys.executable, "-B", "-m", "rq.cli", "worker", "--url", URL, "--quiet", "bench"]
    return [argv] * os.cpu_count()


def left(_):
    return queue.count + queue.started_job_registry.count
