"""HTTP to one server with as little of a client as can be: its own time is part of what is measured."""

import json
import socket
import threading
import time

from processes import BenchError

TIMEOUT = 120
RECEIVE_BYTES = 1 << 18


def request(method, path, body=b"", **headers):
    """A whole request as bytes; a header's `_` becomes `-`."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Client:
    """One kept connection, one request at a time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, message):
        self.socket.sendall(message)

    def more(self):
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise BenchError("the server closed the connection")
        return data

    def head(self):
        """Reads to the end of a head; returns the status and the headers as they came."""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), head.lower()

    def receive(self):
        """An answer with a Content-Length: its status and body."""
        status, head = self.head()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        parts, have = [self.buffer], len(self.buffer)
        while have < length:
            parts.append(self.more())
            have += len(parts[-1])
        body = b"".join(parts)
        self.buffer = body[length:]
        return status, body[:length]

    def ask(self, message, expected=200):
        """One request and its answer's JSON."""
        self.send(message)
        status, body = self.receive()
        if status != expected:
            raise BenchError(f"status {status} instead of {expected}: {body[:500].decode(errors='replace')}")
        return json.loads(body)


class Listener(Client):
    """Server-Sent Events. Looks for whole `data:` lines and at nothing else."""

    def __init__(self, port, path):
        super().__init__(port)
        self.send(request("GET", path, Accept="text/event-stream"))
        status, _ = self.head()
        if status != 200:
            raise BenchError(f"{path}: status {status}")
        while b"retry:" not in self.buffer:  # from then on nothing is missed
            self.buffer += self.more()

    def event(self):
        """The next event's data."""
        while True:
            before, found, rest = self.buffer.partition(b"data: ")
            line, end, after = rest.partition(b"\n")
            if found and end:
                self.buffer = after
                return json.loads(line)
            self.buffer += self.more()

    def wait_for(self, state):
        while (event := self.event())["state"] != state:
            pass
        return event


def at_once(count, function):
    """Calls function(0), function(1), ... each in a thread; returns the seconds until the last is back."""
    failed = []

    def call(number):
        try:
            function(number)
        except (BenchError, OSError, ValueError, KeyError) as error:
            failed.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise BenchError(f"{len(failed)} of {count} clients failed, the first: {failed[0]}")
    return time.monotonic() - start


def percentile(values, percent):
    """The value that `percent` of them do not exceed."""
    values = sorted(values)
    return values[max(0, -(-len(values) * percent // 100) - 1)]
