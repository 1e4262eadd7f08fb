"""An HTTP answer, however it came."""

import json
from dataclasses import dataclass


def _refuse_duplicates(pairs):
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), f"duplicate members in {names}"
    return dict(pairs)


def _refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


@dataclass
class Reply:
    status: int
    headers: dict  # names in lower case
    body: bytes

    def json(self):
        """The body as strict JSON: valid UTF-8, no NaN, no duplicate members, no needless escapes."""
        assert b"\\/" not in self.body
        return json.loads(self.body.decode("utf-8"), object_pairs_hook=_refuse_duplicates,
                          parse_constant=_refuse_constant)

    def media_type(self):
        return self.headers.get("content-type", "").partition(";")[0].strip()


def header_map(pairs):
    """Headers by lower-case name. No header of ours may come twice."""
    headers = {}
    for name, value in pairs:
        assert name.lower() not in headers, f"header {name} twice"
        headers[name.lower()] = value
    return headers
