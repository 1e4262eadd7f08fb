"""A FastCGI client (specification 1.0), for the same requests nginx sends and for those it never would.

Bytes are made by functions (`record`, `request`, ...), so that a test can cut, repeat and spoil them before
`Connection.send`.
"""

import socket
import struct
import uuid

from harness.reply import Reply, header_map
from harness.wait import DEADLINE

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
GET_VALUES = 9
RESPONDER = 1
KEEP_CONN = 1
REQUEST_COMPLETE = 0
CONTENT_MAX = 65535
HEADER = struct.Struct(">BBHHBx")


# ---- bytes ----------------------------------------------------------------------------------------

def record(kind, content=b"", request_id=1, padding=0, version=1):
    return HEADER.pack(version, kind, request_id, len(content), padding) + content + bytes(padding)


def stream(kind, content, request_id=1, piece=CONTENT_MAX, padding=0):
    """Records of at most `piece` bytes each, and the empty one that ends the stream."""
    pieces = [content[at:at + piece] for at in range(0, len(content), piece)]
    return b"".join(record(kind, part, request_id, padding) for part in [*pieces, b""])


def encode_length(length, long_form=False):
    return struct.pack(">I", length | 1 << 31) if long_form or length > 127 else bytes([length])


def encode_params(params, long_form=False):
    encoded = bytearray()
    for name, value in params.items():
        name, value = (text if isinstance(text, bytes) else text.encode("latin-1") for text in (name, value))
        encoded += encode_length(len(name), long_form) + encode_length(len(value), long_form) + name + value
    return bytes(encoded)


def begin(keep=True, request_id=1, role=RESPONDER):
    return record(BEGIN_REQUEST, struct.pack(">HB5x", role, KEEP_CONN if keep else 0), request_id)


def params_of(method, target, body=None, headers=None):
    """The parameters of nginx/heddle_params, for one request."""
    params = {"REQUEST_METHOD": method, "REQUEST_URI": target, "REMOTE_ADDR": "127.0.0.1",
              "SERVER_PROTOCOL": "HTTP/1.1"}
    if "?" in target:
        params["QUERY_STRING"] = target.partition("?")[2]
    if body is not None:
        params["CONTENT_LENGTH"] = str(len(body))
    fields = {"Host": "heddle.test", "X-Request-Id": uuid.uuid4().hex, **(headers or {})}
    for name, value in fields.items():
        key = name.upper().replace("-", "_")
        params[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return params


def request(params, body=b"", keep=True, request_id=1, **shape):
    """All bytes of one request. `shape`: piece and padding of its records."""
    return (begin(keep, request_id) + stream(PARAMS, encode_params(params), request_id, **shape)
            + stream(STDIN, body, request_id, **shape))


def http_request(method, target, body=None, headers=None, keep=True, **shape):
    return request(params_of(method, target, body, headers), body or b"", keep, **shape)


def parse_cgi(output):
    """A CGI document (headers, empty line, body) as a Reply."""
    head, separator, body = output.partition(b"\r\n\r\n")
    assert separator, f"no end of the headers in {output[:500]!r}"
    pairs = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")]
    headers = header_map(pairs)
    status = headers.pop("status", "200 OK")
    return Reply(int(status.split()[0]), headers, body)


# ---- a connection ---------------------------------------------------------------------------------

class Closed(Exception):
    """The peer closed the connection instead of answering; `midway` when a part of the answer had come."""

    def __init__(self, midway):
        super().__init__("in the middle of an answer" if midway else "before an answer")
        self.midway = midway


class Connection:
    def __init__(self, address, timeout=DEADLINE):
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.received = 0  # bytes of the present answer
        self.socket = socket.socket(family)
        self.socket.settimeout(timeout)
        self.socket.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _receive(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise Closed(self.received > 0)
            data += piece
            self.received += len(piece)
        return bytes(data)

    def read_record(self):
        version, kind, request_id, length, padding = HEADER.unpack(self._receive(HEADER.size))
        assert version == 1, f"a record of version {version}"
        content = self._receive(length + padding)[:length]
        return kind, request_id, content

    def read_reply(self, request_id=1):
        """The answer to one request; Closed when the connection ends before it does."""
        self.received = 0
        return parse_cgi(self.read_reply_bytes(request_id))

    def read_reply_bytes(self, request_id=1):
        """What is left of the answer, up to its end."""
        output = bytearray()
        while True:
            kind, got_id, content = self.read_record()
            assert got_id == request_id
            if kind == STDOUT:
                output += content
            elif kind == END_REQUEST:
                app_status, protocol_status = struct.unpack(">IB3x", content)
                assert (app_status, protocol_status) == (0, REQUEST_COMPLETE)
                return bytes(output)
            else:
                assert kind == STDERR, f"a record of type {kind}"

    def ask(self, method, target, body=None, headers=None, keep=True, **shape):
        self.send(http_request(method, target, body, headers, keep, **shape))
        return self.read_reply()

    def read_to_end(self):
        """All that comes until the peer closes."""
        data = bytearray()
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except ConnectionResetError:
            pass
        return bytes(data)

    def at_end(self):
        """True when the peer closes without another byte."""
        return self.read_to_end() == b""


class Client:
    """Asks as nginx does with fastcgi_keep_conn on: one connection after another request's."""

    def __init__(self, address):
        self.address = address

    def ask(self, method, target, body=None, headers=None):
        with Connection(self.address) as connection:
            return connection.ask(method, target, body, headers)
