"""Celery. For tasks that must not be lost its manual asks for late acknowledgement; results are not kept."""

import os
import sys

from celery import Celery

import jobs

app = Celery("celery_queue", broker=f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0")
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True,
                worker_prefetch_multiplier=4, broker_pool_limit=20)
run = app.task(name="run")(jobs.run)


def enqueue(payload):
    return run.delay(payload).id


def workers(concurrency=None):
    """The command lines of the workers: one process for each core, or so many threads."""
    argv = [sys.executable, "-B", "-m", "celery", "-A", "celery_queue", "worker", "--loglevel", "ERROR"]
    return [argv + (["--pool", "threads", "--concurrency", str(concurrency)] if concurrency else [])]


def left(redis):
    """How many tasks have not ended."""
    return redis.llen("celery") + redis.hlen("unacked")
