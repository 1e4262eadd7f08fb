"""The kind `fan_out`: many URLs at once, and what each brought."""

import time

import pytest

from harness.expect import by_url, check_result
from harness.heddle import Heddle
from harness.kinds import cancel, die, refused, show, submit, succeed, wait_for_state, wait_until_final
from harness.wait import wait_until


@pytest.fixture(scope="module")
def program(tmp_path_factory, upstream):
    tasks = {"allowed_hosts": [*upstream.origins[:2], "localhost"]}
    with Heddle(tmp_path_factory.mktemp("fan_out"), tasks=tasks) as heddle:
        yield heddle


def checked(result):
    assert result.keys() == {"results", "total_time"}
    for part in result["results"]:
        check_result(part)
        assert 0 <= part["elapsed"] <= result["total_time"] + 0.001
    return result


def test_each_url_brings_its_answer(program, upstream):
    urls = [upstream.url("/slow", delay=100, body="slow"), upstream.url("/fast", body="fast")]
    result = checked(succeed(program, "fan_out", {"urls": urls}))
    assert [part["content"] for part in result["results"]] == ["fast", "slow"]
    assert result["total_time"] >= 0.1


def test_it_succeeds_whatever_the_parts_bring(program, upstream):
    urls = [upstream.url(status=404), upstream.url(reset=1), upstream.url(body="good"),
            upstream.url("/to", redirect_to=upstream.url(origin=2))]
    parts = by_url(checked(succeed(program, "fan_out", {"urls": urls})))
    assert parts[urls[0]]["reason"] == "http_status" and parts[urls[0]]["status"] == 404
    assert parts[urls[1]]["reason"] == "protocol"
    assert parts[urls[2]]["content"] == "good"
    assert "not among those that tasks may call" in parts[urls[3]]["error"]


def test_no_more_at_once_than_asked_for(program, upstream):
    urls = [upstream.url(f"/{number}", delay=100) for number in range(6)]
    assert checked(succeed(program, "fan_out", {"urls": urls, "max_concurrency": 2}))["total_time"] >= 0.3


def test_content_is_as_long_as_asked_for(program, upstream):
    url = upstream.url(body="0123456789")
    for chars, content in ((0, ""), (4, "0123"), (1000, "0123456789")):
        result = succeed(program, "fan_out", {"urls": [url], "content_chars": chars})
        assert result["results"][0]["content"] == content


def test_a_result_that_would_be_too_large_has_less_of_each_content(heddle, upstream):
    program = heddle(tasks={"allowed_hosts": upstream.origins, "max_result": "16KiB"})
    urls = [upstream.url(f"/{number}", size=5000) for number in range(10)]
    result = checked(succeed(program, "fan_out", {"urls": urls, "content_chars": 5000}))
    assert {len(part["content"]) for part in result["results"]} == {1250}


def test_a_thousand_urls(program, upstream):
    urls = [upstream.url(f"/{number}", body=str(number)) for number in range(1000)]
    parts = by_url(checked(succeed(program, "fan_out", {"urls": urls, "max_concurrency": 50})))
    assert [parts[url]["content"] for url in urls] == [str(number) for number in range(1000)]


def test_progress_is_told_as_parts_end(program, upstream):
    urls = [upstream.url("/now"), upstream.url("/later", delay=60000)]
    task_id = submit(program, "fan_out", {"urls": urls})
    wait_until(lambda: show(program, task_id).get("progress") == 0.5, "half of it has ended")
    cancel(program, task_id)
    wait_until_final(program, task_id)


@pytest.mark.parametrize("concurrency", [0, 1])
def test_it_is_cancelled_while_it_runs(program, upstream, concurrency):
    urls = [upstream.url(f"/{number}", delay=60000) for number in range(50)]
    task_id = submit(program, "fan_out", {"urls": urls, "max_concurrency": concurrency})
    wait_for_state(program, task_id, "running")
    began = time.monotonic()
    cancel(program, task_id)
    assert wait_until_final(program, task_id)["state"] == "cancelled"
    assert time.monotonic() - began < 2


def test_its_time_is_over(program, upstream):
    task = die(program, "fan_out", {"urls": [upstream.url(delay=60000)]}, timeout=0.1, max_attempts=1)
    assert "timeout" in task["error"]


@pytest.mark.parametrize("payload, field", [
    ({}, "urls"), ({"urls": []}, "urls"), ({"urls": "http://localhost/"}, "urls"),
    ({"urls": [1]}, "urls"), ({"urls": ["http://localhost/"] * 1001}, "urls"),
    ({"urls": ["http://localhost/"], "max_concurrency": -1}, "max_concurrency"),
    ({"urls": ["http://localhost/"], "max_concurrency": 1.5}, "max_concurrency"),
    ({"urls": ["http://localhost/"], "content_chars": "9"}, "content_chars"),
    ({"urls": ["http://localhost/"], "content_chars": 100001}, "content_chars"),
], ids=repr)
def test_payloads_that_are_no_good(program, payload, field):
    assert field in refused(program, "fan_out", payload)["detail"]


def test_hosts_that_are_not_allowed(program):
    problem = refused(program, "fan_out", {"urls": ["http://localhost/", "http://example.com/"]})
    assert "urls[1]" in problem["detail"] and "example.com" in problem["detail"]
    assert "tasks.allowed_hosts" in problem["detail"]
