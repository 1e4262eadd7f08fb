"""A client of Server-Sent Events, over FastCGI or through nginx."""

import json
from dataclasses import dataclass

from harness.fastcgi import END_REQUEST, STDOUT, http_request, parse_cgi
from harness.reply import Reply, header_map
from harness.wait import DEADLINE


@dataclass
class Event:
    kind: str
    data: dict
    number: int  # None when it has none


class Events:
    """Reads as the test asks for it; as a context it goes away at the end."""

    def __init__(self, client, target, headers=None):
        self.text = b""
        self.comments = 0
        headers = {"Accept": "text/event-stream", **(headers or {})}
        if hasattr(client, "port"):  # nginx
            self.connection = client.connect()
            self.connection.request("GET", target, headers=headers)
            answer = self.connection.getresponse()
            self.reply = Reply(answer.status, header_map(answer.getheaders()), b"")
            self.read_some = lambda: answer.read1(65536)
        else:
            self.connection = client.connect(timeout=DEADLINE)
            self.connection.send(http_request("GET", target, None, headers))
            head = b""
            while b"\r\n\r\n" not in head:
                head += self._read_record()
            self.reply = parse_cgi(head)
            self.text = self.reply.body
            self.read_some = self._read_record
        assert self.reply.status == 200, self.reply
        assert self.reply.media_type() == "text/event-stream"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def _read_record(self):
        """What the next record brings; b"" at the end."""
        while True:
            kind, _, content = self.connection.read_record()
            if kind == END_REQUEST:
                return b""
            if kind == STDOUT and content:
                return content

    def block(self):
        """The lines of the next block, None at the end."""
        while b"\n\n" not in self.text:
            piece = self.read_some()
            if not piece:
                assert self.text == b"", self.text
                return None
            self.text += piece
        block, _, self.text = self.text.partition(b"\n\n")
        return block.decode().split("\n")

    def next(self):
        """The next event, None at the end."""
        while (lines := self.block()) is not None:
            self.comments += sum(line.startswith(":") for line in lines)
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if "data" in fields:
                number = int(fields["id"]) if "id" in fields else None
                return Event(fields["event"], json.loads(fields["data"]), number)
        return None

    def take(self, count):
        return [self.next() for _ in range(count)]

    def rest(self):
        return list(iter(self.next, None))

    def until(self, predicate):
        """All events up to the first that satisfies `predicate`."""
        events = []
        while not events or not predicate(events[-1]):
            event = self.next()
            assert event, f"the stream ended after {events}"
            events.append(event)
        return events
