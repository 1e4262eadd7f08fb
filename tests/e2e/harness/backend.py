"""A FastCGI server in a thread that stands in for heddle, to see what nginx sends and does."""

import socket
import threading

from harness import fastcgi
from harness.fastcgi import Closed, Connection

OK = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"
ANSWER = fastcgi.stream(fastcgi.STDOUT, OK) + fastcgi.record(fastcgi.END_REQUEST, bytes(8))


def decode_params(data):
    params, at = {}, 0
    while at < len(data):
        lengths = []
        for _ in range(2):
            size = 4 if data[at] & 0x80 else 1
            lengths.append(int.from_bytes(data[at:at + size], "big") & 0x7fffffff)
            at += size
        name, value = data[at:at + lengths[0]], data[at + lengths[0]:at + sum(lengths)]
        at += sum(lengths)
        params[name.decode()] = value.decode("latin-1")
    return params


class Peer(Connection):
    """The other side of an accepted connection."""

    def __init__(self, sock):
        self.socket, self.received = sock, 0

    def read_request(self):
        """(parameters, body); Closed when nginx has closed the connection."""
        streams = {fastcgi.PARAMS: bytearray(), fastcgi.STDIN: bytearray()}
        while True:
            kind, _, content = self.read_record()
            if kind in streams:
                streams[kind] += content
            if kind == fastcgi.STDIN and not content:
                return decode_params(streams[fastcgi.PARAMS]), bytes(streams[fastcgi.STDIN])


class Backend:
    """Answers with `OK`. When `drops(params)` says so, it closes the connection without a word instead."""

    def __init__(self, path, drops=lambda params: False):
        self.path, self.drops = path, drops
        self.requests = []  # (parameters, body)
        self.connections = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with Peer(sock) as peer:
            try:
                while True:
                    params, body = peer.read_request()
                    self.requests.append((params, body))
                    if self.drops(params):
                        return
                    peer.send(ANSWER)
            except Closed:
                pass
