"""What workers do. A payload with a port is told of by a datagram: that it has begun, and when."""

import socket
import time

OUT = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def run(payload):
    if port := payload.get("port"):
        OUT.sendto(str(time.monotonic_ns()).encode(), ("127.0.0.1", port))
    if payload["duration"]:
        time.sleep(payload["duration"])
