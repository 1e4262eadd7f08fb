"""GET /tasks with its filters and pages, GET /tasks/stats."""

import re

import pytest

from harness.expect import TIMESTAMP
from harness.tasks import STATES, accepted, check_task, post, refused, sleep, submit, wait_for


def listed(reply):
    assert reply.status == 200, reply
    return [check_task(task)["id"] for task in reply.json()["tasks"]]


def next_of(reply):
    """The target of the next page, None when there is none."""
    link = reply.headers.get("link")
    assert (link is None) == ("next" not in reply.json())
    if link is None:
        return None
    match = re.fullmatch(r'<(/tasks\?[!-~]+)>; rel="next"', link)
    assert match, link
    return match[1]


def walk(client, target):
    """The ids of all pages, page by page."""
    pages = []
    while target:
        reply = client.ask("GET", target)
        pages.append(listed(reply))
        target = next_of(reply)
    return pages


def make(client, *requests):
    return [accepted(submit(client, request))["id"] for request in requests]


def test_pages_follow_one_another(heddle, via):
    client = via(heddle())
    ids = make(client, *[sleep(0, delay=3600)] * 7)
    pages = walk(client, "/tasks?limit=3")
    assert [len(page) for page in pages if page] == [3, 3, 1]
    assert sum(pages, []) == ids[::-1]


def test_new_tasks_do_not_move_pages(heddle):
    program = heddle()
    ids = make(program, *[sleep(0, delay=3600)] * 4)
    first = program.ask("GET", "/tasks?limit=2")
    make(program, *[sleep(0, delay=3600)] * 3)
    assert listed(first) == ids[:1:-1]
    assert sum(walk(program, next_of(first)), []) == ids[1::-1]


def test_lists_are_filtered(heddle, via):
    client = via(heddle(queues={"mail": {"concurrency": 1}}))
    first, second, third, fourth = make(
        client, sleep(0, delay=3600, tags=["a", "b"]), sleep(3600, queue="mail"),
        sleep(0, queue="mail", tags=["b"]), sleep(0, delay=3600, tags=["a&b=c"]))
    wait_for(client, second, "running")

    def ids(query):
        return sum(walk(client, f"/tasks?{query}"), [])

    assert ids("state=scheduled") == [fourth, first]
    assert ids("state=running") == [second]
    assert ids("queue=mail") == [third, second]
    assert ids("queue=mail&state=queued") == [third]
    assert ids("tag=b") == [third, first]
    assert ids("tag=a%26b%3Dc") == [fourth]
    assert ids("tag=none") == []
    assert ids("kind=sleep&limit=1") == [fourth, third, second, first]
    assert ids("kind=other") == []


def test_a_link_keeps_the_filters(heddle, via):
    client = via(heddle())
    tag = 'a&b=c>; x="ü'
    ids = make(client, *[sleep(0, delay=3600, tags=[tag])] * 3)
    make(client, sleep(0, delay=3600))
    assert sum(walk(client, "/tasks?limit=1&state=scheduled&kind=sleep&queue=default"
                            "&tag=a%26b%3Dc%3E%3B%20x%3D%22%C3%BC"), []) == ids[::-1]


@pytest.mark.parametrize("query, field", [
    ("state=lost", "state"), ("state=", "state"), ("queue=none", "queue"), ("cursor=x", "cursor"),
    ("cursor=" + "g" * 32, "cursor"), ("cursor=" + "0" * 33, "cursor"), ("kind=" + "x" * 65, "kind"),
    ("tag=%ff", "tag"), ("limit=0", "limit"), ("limit=1001", "limit"), ("tag=a&tag=b", "tag"),
])
def test_a_wrong_filter_is_named(ask, query, field):
    refused(ask("GET", f"/tasks?{query}"), field)


def test_lists_show_errors_and_times_but_no_documents(heddle):
    program = heddle()
    [task_id] = make(program, sleep(0, "x" * 1000))
    wait_for(program, task_id, "succeeded")
    [task] = program.ask("GET", "/tasks").json()["tasks"]
    assert task["state"] == "succeeded" and TIMESTAMP.fullmatch(task["finished_at"])
    assert not {"payload", "result", "history"} & task.keys()


def test_tasks_are_counted_by_state_and_queue(heddle, via):
    client = via(heddle(queues={"mail": {"concurrency": 1}}))
    ids = make(client, sleep(3600, queue="mail"), sleep(0, queue="mail"), sleep(0, delay=3600), sleep(0))
    wait_for(client, ids[0], "running")
    wait_for(client, ids[3], "succeeded")
    stats = client.ask("GET", "/tasks/stats").json()
    none = dict.fromkeys(STATES, 0)
    assert stats["counts"] == none | {"running": 1, "queued": 1, "scheduled": 1, "succeeded": 1}
    assert stats["queues"]["mail"] == none | {"running": 1, "queued": 1}
    assert stats["queues"]["default"] == none | {"scheduled": 1, "succeeded": 1}
    post(client, f"/tasks/{ids[2]}/cancel")
    assert client.ask("GET", "/tasks?limit=1").json()["counts"]["cancelled"] == 1
