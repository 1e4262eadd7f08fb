"""What the stores are on."""

import os
import time
from statistics import median

from report import figure

SYNCS = 200


def describe(directory):
    """The file system, and what a sync costs there (median of ms)."""
    kind, longest = "unknown", -1
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            device, point, name = line.split()[:3]
            if directory.is_relative_to(point) and len(point) >= longest:
                kind, longest = f"{name} ({device})", len(point)
    path, took = directory / "sync", []
    with open(path, "wb", buffering=0) as file:
        for _ in range(SYNCS):
            start = time.monotonic()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append(1000 * (time.monotonic() - start))
    path.unlink()
    return f"{kind}, one write of 4 KiB with fdatasync {figure(median(took))} ms"
