"""An address that neither takes nor refuses connections, like a machine that is switched off."""

import errno
import socket


class BlackHole:
    """Listens, accepts nothing, and its queue is full: the kernel drops what else comes to it."""

    def __init__(self, address="127.0.0.1", port=0):
        self.listener = socket.socket()
        self.listener.bind((address, port))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.held = []
        while not self.held or self.connects(self.held[-1]):
            self.held.append(self.begin(address))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in [self.listener, *self.held]:
            sock.close()

    def begin(self, address):
        sock = socket.socket()
        sock.setblocking(False)
        assert sock.connect_ex((address, self.port)) in (0, errno.EINPROGRESS)
        return sock

    @staticmethod
    def connects(sock):
        """On loopback what the queue can hold is connected by the time connect returns."""
        try:
            sock.getpeername()
        except OSError:
            return False
        return True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"
