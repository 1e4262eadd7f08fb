"""Waiting, in one place: for a condition, against a deadline."""

import threading
import time

from harness.build import SANITIZED

# Nothing takes nearly this long unless it hangs; a sanitizer makes everything several times slower.
DEADLINE = 60 if SANITIZED else 20


def wait_until(predicate, what, timeout=DEADLINE):
    """Ask until `predicate()` is true and return what it returned; fail after `timeout` seconds."""
    pause = threading.Event()
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        pause.wait(0.005)
