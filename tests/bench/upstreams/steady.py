#!/usr/bin/python3
"""Requests at a fixed rate, whether answers come or not, as many clients make them who know nothing of one
another. wrk waits for its answers: what is slow gets fewer requests from it, and what is refused gets more.

    steady.py PORT PATH RATE SECONDS    prints JSON: what came back, by status

One thread and one epoll set; a connection for each request that is unanswered, kept for later ones."""

import gc
import json
import select
import socket
import sys
import time

GRACE_SECONDS = 5  # for the answers to the last requests
TICK_SECONDS = 0.001
RECEIVE_BYTES = 1 << 16


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.sent_at = 0

    def receive(self):
        """Reads on; returns (status, whether it has a Retry-After) once the answer is whole. Raises OSError
        when the server has closed the connection."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise OSError("closed")
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        head = head.lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return None
        self.buffer = body[length:]
        return int(head.split(b" ", 2)[1]), b"\r\nretry-after:" in head


class Load:
    def __init__(self, port, path):
        self.port = port
        self.message = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        self.epoll = select.epoll()
        self.waiting, self.idle = {}, []
        self.took, self.retry_after = {}, {}  # by status
        self.sent = self.broken = 0

    def send(self):
        connection = self.idle.pop() if self.idle else None
        if not connection:
            connection = Connection(self.port)
            self.epoll.register(connection.socket, select.EPOLLIN)
        self.waiting[connection.socket.fileno()] = connection
        connection.sent_at = time.monotonic()
        connection.socket.send(self.message)
        self.sent += 1

    def receive(self, descriptor):
        connection = self.waiting.get(descriptor)
        if not connection:  # the server closes an idle connection
            gone = next(each for each in self.idle if each.socket.fileno() == descriptor)
            self.idle.remove(gone)
            gone.socket.close()
            return
        try:
            answer = connection.receive()
        except OSError:
            del self.waiting[descriptor]
            connection.socket.close()
            self.broken += 1
            return
        if answer:
            status, has_retry_after = answer
            self.took.setdefault(status, []).append(time.monotonic() - connection.sent_at)
            self.retry_after[status] = self.retry_after.get(status, 0) + has_retry_after
            del self.waiting[descriptor]
            self.idle.append(connection)

    def receive_all(self):
        for descriptor, _ in self.epoll.poll(TICK_SECONDS):
            self.receive(descriptor)

    def run(self, rate, seconds):
        start = time.monotonic()
        end = start + seconds
        while (now := time.monotonic()) < end:
            while self.sent < (now - start) * rate:
                self.send()
            self.receive_all()
        while self.waiting and time.monotonic() < end + GRACE_SECONDS:
            self.receive_all()


def quantile_ms(ordered, part):
    return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def of_status(took, retry_after):
    ordered = sorted(took)
    return {"count": len(took), "p50_ms": quantile_ms(ordered, 0.5), "p99_ms": quantile_ms(ordered, 0.99),
            "retry_after": retry_after}


def main():
    port, path, rate, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    gc.disable()
    load = Load(port, path)
    load.run(rate, seconds)
    print(json.dumps({
        "sent": load.sent, "seconds": seconds, "broken": load.broken, "unanswered": len(load.waiting),
        "by_status": {status: of_status(took, load.retry_after[status])
                      for status, took in load.took.items()}}))


if __name__ == "__main__":
    main()
