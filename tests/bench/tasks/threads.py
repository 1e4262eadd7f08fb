"""Python's threads on two cores: what an interpreter lock leaves of them."""

import hashlib
import time

from client import at_once, percentile

PIECE = b"0123456789abcdef" * 4
PIECES = 2_000_000


def two_cores(_, scale):
    """SHA-256 as `digest` does it, in pieces that Python hashes under its lock."""
    pieces = scale.count(PIECES)

    def one(_=0):
        digest = hashlib.sha256()
        for _ in range(pieces):
            digest.update(PIECE)

    alone, together = [], []
    for _ in range(3):
        start = time.monotonic()
        one()
        one()
        alone.append(time.monotonic() - start)
        together.append(at_once(2, one))
    alone, together = percentile(alone, 50), percentile(together, 50)
    return {"times as fast": alone / together, "alone s": alone, "together s": together}
