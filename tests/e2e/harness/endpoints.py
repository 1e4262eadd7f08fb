"""Upstreams and endpoints: their configuration, and what clients and GET /upstreams see of them.

    program = heddle(upstreams=[service("u", mock.origins[0], coalesce=True)],
                     endpoints=[endpoint("/e", part("p", "u"))])
    values(program.ask("GET", "/e?delay=100&key=k"))  # {"p": {"ok": True}}
"""

from harness import fastcgi
from harness.wait import wait_until

# What a part asks of the mock (tests/mock) unless the test says otherwise: as the client asks.
ASKED = {"json": '{{"ok": true}}', "record": "1", "key": "{query.key:none}", "delay": "{query.delay:0}",
         "status": "{query.status:200}"}


def service(name, origin, **settings):
    """`origin`: HOST:PORT, or a URL."""
    return {"name": name, "base_url": origin if "://" in origin else f"http://{origin}", **settings}


def part(name, upstream_name, path="/", query=None, **settings):
    """`query` goes over ASKED; a value None takes one away."""
    both = {key: value for key, value in {**ASKED, **(query or {})}.items() if value is not None}
    own = {"name": name, "upstream": upstream_name, "path": path, "query": both}
    return own | settings


def endpoint(path, *parts, mode="all", **settings):
    """Its parts are required unless they say otherwise, where that means something."""
    usual = {"required": True} if mode == "all" else {}
    return {"path": path, "timeout": "5s", "mode": mode, "parts": [usual | one for one in parts], **settings}


def literal(text):
    """`text` as a template that is just that."""
    return text.replace("{", "{{").replace("}", "}}")


# ---- clients --------------------------------------------------------------------------------------

def begin(program, target, headers=None, count=1, method="GET", body=None):
    """That many clients that have asked."""
    clients = [program.connect() for _ in range(count)]
    for client in clients:
        client.send(fastcgi.http_request(method, target, body, headers))
    return clients


def finish(clients):
    """Their replies."""
    replies = [client.read_reply() for client in clients]
    leave(clients)
    return replies


def leave(clients):
    for client in clients:
        client.close()


def ask_at_once(program, target, count, **options):
    return finish(begin(program, target, count=count, **options))


# ---- answers --------------------------------------------------------------------------------------

def answer(reply, status=200):
    """The body of an endpoint's answer, whose shape has been checked."""
    assert reply.status == status, reply
    assert reply.media_type() == "application/json", reply
    body = reply.json()
    assert body.keys() == {"parts", "complete", "errors", "total_time"}, body
    assert not body["parts"].keys() & body["errors"].keys(), body
    for error in body["errors"].values():
        assert error["reason"], body
    assert ("proxy-status" in reply.headers) == bool(body["errors"]), reply
    assert "server-timing" in reply.headers
    return body


def values(reply):
    """The values of all parts, none of which has failed."""
    body = answer(reply)
    assert body["complete"] and not body["errors"], body
    return body["parts"]


def errors(reply, status=502):
    return answer(reply, status)["errors"]


def reasons(reply, status=502):
    """Reason by part."""
    return {name: error["reason"] for name, error in errors(reply, status).items()}


# ---- what heddle says of its upstreams ------------------------------------------------------------

def live(program, name):
    """What GET /upstreams shows of one."""
    reply = program.ask("GET", "/upstreams")
    assert reply.status == 200 and reply.media_type() == "application/json"
    return next(one for one in reply.json()["upstreams"] if one["name"] == name)


def wait_for_live(program, name, what, predicate):
    return wait_until(lambda: predicate(shown := live(program, name)) and shown, f"{name}: {what}")
