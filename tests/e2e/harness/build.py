"""Which programs are under test, and how they were built."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]


def _program(variable, default):
    return Path(PROJECT, os.environ.get(variable, default)).resolve()


HEDDLE = _program("HEDDLE", "build/heddle")
MOCK_UPSTREAM = _program("MOCK_UPSTREAM", "build/mock-upstream")


def _sanitizer():
    """The name of the sanitizer heddle was built with, or ''."""
    code = HEDDLE.read_bytes() if HEDDLE.exists() else b""
    return next((name for name in ("asan", "tsan") if f"__{name}_init".encode() in code), "")


SANITIZED = _sanitizer()
