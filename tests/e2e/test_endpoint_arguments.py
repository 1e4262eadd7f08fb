"""What a client's request brings for an endpoint: checked first, then put into parts, where it stays a value."""

import json
import urllib.parse

import pytest

from harness.endpoints import answer, endpoint, literal, part, service, values
from harness.expect import detailed_problem
from harness.heddle import Heddle

JSON = {"Content-Type": "application/json"}
ECHO = {"echo": "1", "json": None}
SENT = '{"a": "{body./list/1}", "b": "say {body./text}", "c": "{body./a~1b}"}'
HOSTILE = ["a/b", "a%2Fb", "a?b=c", "a#b", "a&echo=0", "a b", "ä", "{query.q}", "a;b", "'\"", "a+b", "%00x",
           "\\"]


@pytest.fixture(scope="module")
def program(tmp_path_factory, upstream):
    user = {"json": literal('{"data": {"id": 7, "name": "n", "secret": "s", "tags": ["x", "y"]}}')}
    params = [{"name": "id", "type": "integer", "min": 1, "max": 1000},
              {"name": "query.limit", "type": "integer", "min": 1, "max": 50, "default": "10"},
              {"name": "query.word", "pattern": "[a-z]+", "max_length": 5, "default": "none"},
              {"name": "query.all", "type": "boolean", "default": "false"}]
    with Heddle(
            tmp_path_factory.mktemp("arguments"),
            upstreams=[service("u", upstream.origins[0])],
            endpoints=[
                endpoint("/path/{text}", part("p", "u", "/x/{text}/y", query=ECHO, select="/path")),
                endpoint("/query", part("p", "u", query={**ECHO, "x_q": "{query.q}"}, select="/query")),
                endpoint("/default", part("p", "u", query={**ECHO, "x_q": "{query.q:a b}"}, select="/query")),
                endpoint("/header", part("p", "u", query=ECHO, headers={"X-Copy": "{header.X-Text}"},
                                         select="/headers/X-Copy")),
                endpoint("/body", part("p", "u", method="POST", query=ECHO, select="/body", body=SENT),
                         method="POST"),
                endpoint("/checked/{id}", part("p", "u", "/{id}", select="/query", query={
                    **ECHO, "x_limit": "{query.limit}", "x_word": "{query.word}", "x_all": "{query.all}"}),
                    params=params),
                endpoint("/select", part("all", "u", query=user),
                         part("one", "u", query=user, select="/data/tags/1"),
                         part("picked", "u", query=user, select="/data", pick=["id", "name"]),
                         part("dropped", "u", query=user, select="/data", drop=["secret"]),
                         part("none", "u", query=user, select="/nothing", required=False),
                         part("text", "u", query={"json": None, "body": "caf\u00e9",
                                                  "type": "text/plain; charset=iso-8859-1"})),
                endpoint("/flat", part("a", "u", query={"json": literal('{"x": 1}')}),
                         part("b", "u", query={"json": literal('{"y": 2}')}), merge="flat"),
                endpoint("/clash", part("a", "u", query={"json": literal('{"x": 1}')}),
                         part("b", "u", query={"json": literal('{"x": 2}')}, required=False), merge="flat"),
            ]) as started:
        yield started


def quote(text):
    return urllib.parse.quote(text, safe="")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_value_in_a_path_stays_one_segment(program, text):
    reply = program.ask("GET", f"/path/{quote(text)}")
    if "%00" not in text and reply.status == 200:
        assert values(reply)["p"] == f"/x/{quote(text)}/y"
    else:
        assert reply.status in (200, 400, 404, 422)


@pytest.mark.parametrize("text", ["..", "."])
def test_a_value_cannot_be_a_step_in_a_path(program, text):
    assert program.ask("GET", f"/path/{text.replace('.', '%2e')}").status in (400, 404, 422)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_value_in_a_query_stays_one(program, text):
    got = values(program.ask("GET", f"/query?q={quote(text)}"))["p"]
    assert dict(pair.split("=") for pair in got.split("&"))["x_q"] == quote(text)


def test_defaults(program):
    assert "x_q=a%20b" in values(program.ask("GET", "/default"))["p"]
    assert "x_q=c" in values(program.ask("GET", "/default?q=c"))["p"]


def test_a_value_that_is_missing_is_said(program):
    assert "q" in detailed_problem(program.ask("GET", "/query"), 422)["detail"]


def test_a_value_in_a_header_stays_one(program):
    assert values(program.ask("GET", "/header", headers={"X-Text": "a: b, c"}))["p"] == "a: b, c"
    reply = program.ask("GET", "/header", headers={"X-Text": "a\r\nX-Evil: 1"})
    assert reply.status in (400, 422, 502)


def test_values_of_a_body_keep_their_type(program):
    body = {"list": [0, {"deep": [None]}], "text": 'quo"te', "a/b": 1.5}
    sent = values(program.ask("POST", "/body", json.dumps(body).encode(), JSON))["p"]
    assert json.loads(sent) == {"a": {"deep": [None]}, "b": 'say quo"te', "c": 1.5}


@pytest.mark.parametrize("body, status", [(b"{", 400), (b"[]", 422), (b"{}", 422)])
def test_a_wrong_body_is_refused(program, body, status):
    detailed_problem(program.ask("POST", "/body", body, JSON), status)


def test_a_body_of_another_type_is_refused(program):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    detailed_problem(program.ask("POST", "/body", b"a=b", form), 415)


@pytest.mark.parametrize("target", ["0", "1001", "x", "1.5", "1e2", "7?limit=0", "7?limit=51", "7?limit=many",
                                    "7?limit=", "7?word=UPPER", "7?word=toolong", "7?word=a1", "7?all=maybe"])
def test_what_is_not_what_its_row_says_is_refused(program, upstream, target):
    before = upstream.stats()["requests"]
    detailed_problem(program.ask("GET", f"/checked/{target}"), 422)
    assert upstream.stats()["requests"] == before


def test_what_is_goes_on(program):
    got = values(program.ask("GET", "/checked/7?limit=50&word=abcde&all=true"))["p"]
    assert {"x_limit=50", "x_word=abcde", "x_all=true"} <= set(got.split("&"))
    got = values(program.ask("GET", "/checked/7"))["p"]
    assert {"x_limit=10", "x_word=none", "x_all=false"} <= set(got.split("&"))


def test_select_pick_and_drop(program):
    body = answer(program.ask("GET", "/select"))
    parts = body["parts"]
    assert parts["all"]["data"]["id"] == 7
    assert parts["one"] == "y"
    assert parts["picked"] == {"id": 7, "name": "n"}
    assert parts["dropped"] == {"id": 7, "name": "n", "tags": ["x", "y"]}
    assert parts["text"] == "caf\u00c3\u00a9"  # its UTF-8, which it says is Latin-1
    assert body["errors"]["none"]["reason"] == "bad_select"


def test_flat(program):
    assert program.ask("GET", "/flat").json() == {"x": 1, "y": 2}


def test_a_key_of_two_parts_is_an_error_of_the_later_one(program):
    body = program.ask("GET", "/clash").json()
    assert body["x"] == 1 and not body["complete"]
    assert body["errors"]["b"]["reason"] == "duplicate_key"


def test_other_methods_are_refused(program):
    reply = program.ask("POST", "/query", b"{}", JSON)
    assert reply.status == 405 and "GET" in reply.headers["allow"]
    assert program.ask("HEAD", "/default").status == 200
