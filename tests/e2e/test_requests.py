"""Requests that are wrong, and what every answer has: each row of the interface's table."""

import json
import re

import pytest

from harness import fastcgi
from harness.expect import detailed_problem, problem

SUBMIT = "/start_background_task/"
JSON = {"Content-Type": "application/json"}
GOOD = b'{"message": "m", "duration": 0}'
MISSING = "Missing message or duration in request"


def post(ask, body, content_type="application/json"):
    return ask("POST", SUBMIT, body, {"Content-Type": content_type} if content_type is not None else {})


# ---- 400: something is missing ---------------------------------------------------------------------

@pytest.mark.parametrize("body", [
    b"", b" \r\n\t", b"{}", b'{"message": "m"}', b'{"duration": 1}', b'{"Message": "m", "Duration": 1}',
    b'{"message": "m", "duratio": 1}'], ids=repr)
def test_missing_members_are_said_in_the_words_of_the_interface(ask, body):
    assert detailed_problem(post(ask, body), 400)["error"] == MISSING


@pytest.mark.parametrize("headers", [{}, JSON, {"Content-Type": "text/plain"}], ids=repr)
def test_an_absent_body_is_missing_whatever_its_type(ask, headers):
    assert detailed_problem(ask("POST", SUBMIT, None, headers), 400)["error"] == MISSING


# ---- 400: not JSON ---------------------------------------------------------------------------------

def wrong_json():
    """(body, line, column): where a reader would point to, or None where opinions differ."""
    deep = 10_000
    yield b"{", None
    yield b"not json", (1, None)
    yield b'{"message": "m", "duration": }', (1, None)
    yield b'{"message": "m",\n "duration": 1,}', (2, None)
    yield b'{\n\n"message": "m" "duration": 1}', (3, None)
    yield b"{'message': 'm', 'duration': 1}", (1, None)
    yield b'{"message": "m", "duration": NaN}', (1, None)
    yield b'{"message": "m", "duration": Infinity}', (1, None)
    yield b'{"message": "m", "duration": 01}', (1, None)
    yield b'{"message": "m", "duration": 1.}', (1, None)
    yield b'{"message": "m", "duration": .5}', (1, None)
    yield b'{"message": "m", "duration": +1}', (1, None)
    yield b'{"message": "m", "duration": 1} x', (1, None)
    yield b'{"message": "m", "duration": 1}{}', (1, None)
    yield b'{"message": "m", "duration": 1} // comment', (1, None)
    yield b'{"message": "a\nb", "duration": 1}', None
    yield b'{"message": "a\tb", "duration": 1}', (1, None)
    yield b'{"message": "\\x41", "duration": 1}', (1, None)
    yield b'{"message": "\\ud800", "duration": 1}', (1, None)
    yield b'{"message": "\\udc00\\ud800", "duration": 1}', (1, None)
    yield b'\xef\xbb\xbf{"message": "m", "duration": 1', (1, None)
    yield b'{"message": "\xff", "duration": 1}', (1, None)
    yield b'{"message": "\xc3", "duration": 1}', (1, None)
    yield b'{"message": "\xed\xa0\x80", "duration": 1}', (1, None)
    yield b'{"message": "\xc0\xaf", "duration": 1}', (1, None)
    yield b'{"message": "m",\n"\xf5\x80\x80\x80": 1, "duration": 1}', (2, None)
    yield '{"message": "m", "duration": 1}'.encode("utf-16"), (1, None)
    yield b'{"message": "m", "duration": 1, "duration": 2}', (1, None)
    yield b'{"message": "m",\n "message": "n", "duration": 2}', (2, None)
    yield b'{"message": "m", "duration": 1, "x": {"a": 1, "a": 1}}', (1, None)
    yield b"[" * deep, (1, None)
    yield b'{"a":' * deep, (1, None)
    yield b'{"message": "m", "duration": 1, "x": ' + b"[" * 500 + b"]" * 500 + b"}", (1, None)
    yield b'{"message": "m", "duration": 1, "x": ' + b'{"x":' * 500 + b"1" + b"}" * 500 + b"}", (1, None)
    yield b"\x00", (1, None)
    yield GOOD + b"\x00", (1, None)
    yield b'{"message": "m\x00", "duration": 1}', (1, None)


@pytest.mark.parametrize("body, place", wrong_json(), ids=lambda value: repr(value)[:48])
def test_what_is_not_json_is_refused_with_the_position(ask, body, place):
    detail = detailed_problem(post(ask, body), 400)["detail"]
    found = re.search(r"line (\d+),? column (\d+)", detail)
    assert found, detail
    if place:
        assert int(found[1]) == place[0], detail
    assert int(found[2]) <= len(body) + 1


@pytest.mark.parametrize("body", [
    b"[]", b'"text"', b"1", b"null", b"true", b'[{"message": "m", "duration": 1}]'], ids=repr)
def test_json_that_is_no_object_is_refused(ask, body):
    assert "a JSON object is expected" in detailed_problem(post(ask, body), 400)["detail"]


# ---- 422: values -----------------------------------------------------------------------------------

@pytest.mark.parametrize("duration", [
    "-1", "-0.001", "86401", "86400.001", "1e5", "1e300", '"5"', '""', "true", "false", "null", "[]", "[5]",
    "{}", "-9223372036854775808", "9223372036854775807"])
def test_a_duration_out_of_range_is_named(ask, duration):
    body = b'{"message": "m", "duration": %s}' % duration.encode()
    assert "duration" in detailed_problem(post(ask, body), 422)["detail"]


@pytest.mark.parametrize("duration", ["1e999", "-1e999", "9" * 400, "99999999999999999999"])
def test_a_duration_no_double_holds_is_refused(ask, duration):
    body = b'{"message": "m", "duration" : %s}' % duration.encode()
    answer = detailed_problem(post(ask, body), 422)
    assert answer["field"] == "duration"
    assert "duration must be a finite number" in answer["detail"]


def test_another_number_that_no_double_holds_is_the_one_that_is_named(ask):
    body = b'{"message": "m", "duration": 1, "weight": 1e999}'
    answer = detailed_problem(post(ask, body), 422)
    assert answer["field"] == "weight"
    assert "weight must be a finite number" in answer["detail"]


def test_a_number_without_a_short_name_that_no_double_holds_is_refused(ask):
    for member in (b'"list": [1e999]', b'"": 1e999', b'"%s": 1e999' % (b"x" * 41), b'"a\\"b": 1e999'):
        answer = detailed_problem(post(ask, b'{"message": "m", "duration": 1, %s}' % member), 422)
        assert "field" not in answer and "too large" in answer["detail"]


@pytest.mark.parametrize("message", ["1", "null", "true", "[]", '["m"]', "{}", '"%s"' % ("x" * 8193),
                                     '"%s"' % ("é" * 4097), '"%s"' % ("x" * 60000)],
                         ids=lambda value: value[:10])
def test_a_message_that_is_no_text_or_too_long_is_named(ask, message):
    body = b'{"message": %s, "duration": 1}' % message.encode()
    assert "message" in detailed_problem(post(ask, body), 422)["detail"]


def test_a_nul_in_a_message_is_kept_or_refused_but_does_not_end_it(ask):
    reply = post(ask, b'{"message": "a\\u0000b", "duration": 0}')
    assert reply.status in (202, 400, 422)
    if reply.status != 202:
        detailed_problem(reply, reply.status)


# ---- 415, 413 --------------------------------------------------------------------------------------

@pytest.mark.parametrize("content_type", [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp",
    "application/xml", "json", "application/", "", "x" * 2000, "text/plain; x=application/json", None],
    ids=lambda value: repr(value)[:40])
def test_a_body_of_another_type_is_refused(ask, content_type):
    detail = detailed_problem(post(ask, GOOD, content_type), 415)["detail"]
    assert "application/json" in detail


def padded(size):
    head, tail = b'{"message": "m", "duration": 0', b"}"
    return head + b" " * (size - len(head) - len(tail)) + tail


def test_a_body_of_64_kib_is_taken(ask):
    assert post(ask, padded(64 * 1024)).status == 202


@pytest.mark.parametrize("size", [64 * 1024 + 1, 200_000, 5_000_000])
def test_a_body_over_64_kib_is_refused(ask, size):
    problem(post(ask, padded(size)), 413)


def test_a_body_over_64_kib_is_refused_before_it_is_there(server):
    """Directly: nginx would collect it first. The answer may come while the peer still sends."""
    with server.connect() as connection:
        params = fastcgi.params_of("POST", SUBMIT, None, JSON) | {"CONTENT_LENGTH": str(1 << 40)}
        connection.send(fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, fastcgi.encode_params(params)))
        try:
            connection.send(fastcgi.record(fastcgi.STDIN, bytes(60000)) * 2)
        except (BrokenPipeError, ConnectionResetError):
            pass
        detailed_problem(connection.read_reply(), 413)


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", " 5", "99999999999999999999999", "31.0", "0x1f"])
def test_a_content_length_that_is_no_number_does_no_harm(server, length):
    """nginx never sends one."""
    params = fastcgi.params_of("POST", SUBMIT, GOOD, JSON) | {"CONTENT_LENGTH": length}
    with server.connect() as connection:
        connection.send(fastcgi.request(params, GOOD))
        assert connection.read_reply().status in (202, 400, 411, 413)


@pytest.mark.parametrize("claimed", [0, 5, len(GOOD) + 1, 60000])
def test_a_content_length_that_lies_does_no_harm(server, claimed):
    params = fastcgi.params_of("POST", SUBMIT, GOOD, JSON) | {"CONTENT_LENGTH": str(claimed)}
    with server.connect() as connection:
        connection.send(fastcgi.request(params, GOOD))
        assert connection.read_reply().status in (202, 400)


# ---- 404, 405 --------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", [
    "/", "/nope", "/concurrent_request", "/concurrent_requests//", "/concurrent_requests/x", "//",
    "/Health/Live", "/health", "/health/", "/health/live/x", "/metricsx", "/tasks/a/b/c",
    "/%63oncurrent_requests/x", "/?x", "/nope?limit=1",
    "/start_background_task/1", "/%F0%9F%98%80", "/index.php", "/.problem"])
def test_an_unknown_path_is_not_found(ask, path):
    problem(ask("GET", path), 404)


@pytest.mark.parametrize("length", [100, 2047, 2048, 2049, 4000])
def test_a_long_path_is_not_found_either(ask, length):
    reply = ask("GET", "/" + "a" * length)
    problem(reply, 414 if reply.status == 414 else 404)


def test_the_path_is_not_echoed_raw(ask):
    reply = ask("GET", '/<script>"\\')
    problem(reply, 404)
    assert b"<script>\"" not in reply.body


WRONG_METHODS = [
    ("/concurrent_requests/", ["POST", "PUT", "DELETE", "PATCH"], {"GET", "HEAD"}),
    ("/start_background_task/", ["GET", "HEAD", "PUT", "DELETE", "PATCH"], {"POST"}),
    ("/tasks", ["PUT", "DELETE", "PATCH"], {"GET", "HEAD"}),
    ("/tasks/1", ["POST", "PUT"], {"GET", "HEAD"}),
    ("/health/live", ["POST", "DELETE"], {"GET", "HEAD"}),
    ("/health/ready", ["POST", "DELETE"], {"GET", "HEAD"}),
    ("/metrics", ["POST", "PUT"], {"GET", "HEAD"}),
]


@pytest.mark.parametrize("path, method, allowed", [
    (path, method, allowed) for path, methods, allowed in WRONG_METHODS for method in methods])
def test_a_wrong_method_is_told_which_are_allowed(ask, path, method, allowed):
    reply = ask(method, path)
    assert reply.status == 405
    assert allowed <= set(reply.headers["allow"].split(", "))
    assert method not in reply.headers["allow"].split(", ")
    if method == "HEAD":
        assert reply.body == b""
    else:
        detailed_problem(reply, 405)


@pytest.mark.parametrize("method", [
    "get", "G" * 50, "BREW", "", "GET ", "GET\r\nX: y", "\x00", "POST\x00"], ids=repr)
def test_a_method_nobody_knows_is_not_allowed(server, method):
    """Directly: nginx refuses some of them itself."""
    reply = server.ask(method, "/tasks/stats")
    assert reply.status in (400, 405, 501)
    detailed_problem(reply, reply.status)


@pytest.mark.parametrize("target", [
    "", "tasks", "*", "http://heddle.test/tasks", "/tasks\x00", "/\xff\xfe", "/tasks#x", "?",
    "/" + "x" * 60000],
    ids=lambda value: repr(value)[:20])
def test_a_target_that_is_no_path_does_no_harm(server, target):
    reply = server.ask("GET", target)
    assert reply.status in (200, 400, 404, 414)
    reply.json()


@pytest.mark.parametrize("missing", [
    "REQUEST_METHOD", "REQUEST_URI", "QUERY_STRING", "REMOTE_ADDR", "SERVER_PROTOCOL", "HTTP_X_REQUEST_ID",
    "HTTP_HOST"])
def test_a_parameter_that_is_missing_does_no_harm(server, missing):
    params = fastcgi.params_of("GET", "/tasks?limit=1")
    del params[missing]
    with server.connect() as connection:
        connection.send(fastcgi.request(params))
        assert connection.read_reply().status in (200, 400, 404, 405)


# ---- what every answer has -------------------------------------------------------------------------

ANY_REQUESTS = [("GET", "/concurrent_requests/"), ("GET", "/tasks"), ("GET", "/nope"),
                ("GET", "/health/live"), ("PUT", "/tasks"), ("POST", SUBMIT)]


@pytest.mark.parametrize("method, path", ANY_REQUESTS)
def test_every_answer_has_its_length_and_is_not_to_be_kept(ask, method, path):
    reply = ask(method, path)
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method, path", ANY_REQUESTS)
def test_every_answer_has_a_request_id_of_its_own(server, session_nginx, method, path):
    ids = {session_nginx.ask(method, path).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3 and all(ids)


def test_the_request_id_is_the_one_of_nginx(server):
    reply = server.ask("GET", "/nope", headers={"X-Request-Id": "0123456789abcdef0123456789abcdef"})
    assert problem(reply, 404)["request_id"] == "0123456789abcdef0123456789abcdef"


def test_a_client_does_not_choose_the_request_id_through_nginx(server, session_nginx):
    reply = session_nginx.ask("GET", "/nope", headers={"X-Request-Id": "chosen"})
    assert problem(reply, 404)["request_id"] != "chosen"


@pytest.mark.parametrize("request_id", [
    "a\r\nSet-Cookie: x=1", "a\nb", "\x00", "x" * 5000, '"}', "<b>", "\xff\xfe", " ", ""],
    ids=lambda value: repr(value)[:20])
def test_a_request_id_cannot_forge_a_header_or_a_member(server, request_id):
    reply = server.ask("GET", "/nope", headers={"X-Request-Id": request_id})
    assert "set-cookie" not in reply.headers
    assert reply.headers.keys() <= {"content-type", "content-length", "x-request-id", "cache-control"}
    assert isinstance(reply.json()["request_id"], str)


def test_health(ask):
    for path in ("/health/live", "/health/ready", "/health/live/", "/health/ready/"):
        reply = ask("GET", path)
        assert reply.status == 200
        reply.json()


def test_wrong_requests_leave_the_server_as_it_was(server):
    assert post(server.ask, GOOD).status == 202
    assert json.loads(server.ask("GET", "/tasks?limit=1").body)["tasks"]
