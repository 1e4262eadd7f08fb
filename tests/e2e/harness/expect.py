"""What several tests expect of an answer."""

import re

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
REASONS = {"http_status", "timeout", "dns", "connect", "tls", "too_large", "protocol", "cancelled",
           "forbidden", "overloaded", "circuit_open"}


def problem(reply, status, title=None):
    """Check that the answer is a problem (RFC 9457) with that status, and return it."""
    assert reply.status == status, reply
    assert reply.media_type() == "application/problem+json"
    body = reply.json()
    assert isinstance(body["type"], str)
    assert isinstance(body["title"], str) and body["title"]
    assert body["status"] == status
    assert body["request_id"]
    # It is nginx that sends the header.
    assert reply.headers.get("x-request-id", body["request_id"]) == body["request_id"]
    if "detail" in body:
        assert isinstance(body["detail"], str) and body["detail"]
    return body


def busy(reply):
    """A 503 that says when to come again."""
    assert int(reply.headers["retry-after"]) >= 1
    return detailed_problem(reply, 503)


def detailed_problem(reply, status):
    """A problem with a detail, as heddle itself gives it; nginx's own have none."""
    body = problem(reply, status)
    assert body.get("detail"), body
    return body


def fan_out(reply):
    """The results of a fan-out, each of them checked for its shape."""
    assert reply.status == 200, reply
    assert reply.media_type() == "application/json"
    body = reply.json()
    assert body.keys() == {"results", "total_time"}
    for result in body["results"]:
        check_result(result)
        assert 0 <= result["elapsed"] <= body["total_time"] + 0.001, body
    return body


def check_result(result):
    if "error" in result:
        assert result.keys() - {"status"} == {"url", "error", "reason", "elapsed"}
        assert result["error"] and result["reason"] in REASONS
    else:
        assert result.keys() == {"url", "status", "content", "elapsed"}
        assert 200 <= result["status"] < 400
        assert isinstance(result["content"], str)


def by_url(body):
    """The results of a fan-out to different URLs, by URL."""
    results = {result["url"]: result for result in body["results"]}
    assert len(results) == len(body["results"])
    return results


def retry_after(reply):
    """The seconds after which it asks us to come again."""
    return int(reply.headers["retry-after"])
