"""GET /tasks/events, GET /tasks/{id}/events: Server-Sent Events."""

import pytest

from harness import metrics
from harness.events import Events
from harness.expect import TIMESTAMP, busy
from harness.tasks import FINAL_STATES, accepted, post, refused, sleep, submit, wait_until_final
from harness.wait import wait_until


def make(client, request):
    return accepted(submit(client, request))["id"]


def states(events):
    return [event.data["state"] for event in events if event.kind == "state"]


def is_final(event):
    return event.data["state"] in FINAL_STATES


def numbers(events):
    return [event.number for event in events]


# ---- one task ----

def test_the_stream_of_a_task_begins_where_it_stands_and_ends_with_it(heddle, via):
    client = via(heddle())
    task_id = make(client, sleep(1.2))
    with Events(client, f"/tasks/{task_id}/events") as stream:
        events = stream.rest()
    assert states(events) == ["running", "succeeded"]
    assert any(event.kind == "progress" and 0 < event.data["progress"] < 1 for event in events)
    for event in events:
        assert event.data["id"] == task_id and event.data["queue"] == "default"
        assert TIMESTAMP.fullmatch(event.data["at"])
    assert events[0].number is None
    assert numbers(events[1:]) == sorted(numbers(events[1:]))


def test_the_stream_of_a_finished_task_is_one_event(heddle, via):
    client = via(heddle())
    task_id = make(client, sleep(0))
    wait_until_final(client, task_id)
    with Events(client, f"/tasks/{task_id}/events") as stream:
        assert states(stream.rest()) == ["succeeded"]
    with Events(client, f"/tasks/{task_id}/events", {"Last-Event-ID": "1"}) as stream:
        assert states(stream.rest()) == ["succeeded"]


def test_every_state_is_told(heddle):
    program = heddle()
    task_id = make(program, sleep(3600, delay=3600))
    with Events(program, f"/tasks/{task_id}/events") as stream:
        assert stream.next().data["state"] == "scheduled"
        program.ask("PATCH", f"/tasks/{task_id}", b'{"delay": 0}', {"Content-Type": "application/json"})
        seen = states(stream.until(lambda event: event.data["state"] == "running"))
        assert seen in (["queued", "running"], ["running"])
        post(program, f"/tasks/{task_id}/cancel")
        assert states(stream.rest())[-1] == "cancelled"


def test_a_stream_of_a_task_is_taken_up_again(heddle, via):
    program = heddle()
    client = via(program)
    task_id = make(client, sleep(3600))
    other = make(client, sleep(0))
    wait_until_final(client, other)
    with Events(client, "/tasks/events?last_event_id=0") as stream:
        first = next(event for event in stream.take(3) if event.data["id"] == task_id)
    post(client, f"/tasks/{task_id}/cancel")
    wait_until_final(client, task_id)
    retried = post(client, f"/tasks/{task_id}/retry")
    assert retried.status == 200
    with Events(client, f"/tasks/{task_id}/events", {"Last-Event-ID": str(first.number)}) as stream:
        events = stream.until(is_final)
    assert states(events)[-1] == "cancelled"
    assert all(event.data["id"] == task_id and event.number > first.number for event in events)


# ---- all tasks ----

def test_all_events_are_told_in_order_without_a_gap(heddle, via):
    program = heddle()
    client = via(program)
    with Events(client, "/tasks/events") as stream:
        ids = [make(program, sleep(0)) for _ in range(10)]
        seen = []
        while sum(is_final(event) for event in seen) < 10:
            seen.append(stream.next())
    got = numbers(seen)
    assert got == list(range(got[0], got[0] + len(got)))
    assert {event.data["id"] for event in seen} == set(ids)


def test_a_stream_is_taken_up_where_it_was_left_even_after_a_crash(heddle):
    program = heddle()
    with Events(program, "/tasks/events") as stream:
        make(program, sleep(0))
        first = stream.until(is_final)
    for _ in range(3):
        wait_until_final(program, make(program, sleep(0)))
    program.kill()
    program = heddle()
    for headers, query in (({"Last-Event-ID": str(first[-1].number)}, ""),
                           ({}, f"?last_event_id={first[-1].number}")):
        with Events(program, f"/tasks/events{query}", headers) as stream:
            seen = []
            while sum(is_final(event) for event in seen) < 3:
                seen.append(stream.next())
        got = numbers(seen)
        assert got == list(range(first[-1].number + 1, first[-1].number + 1 + len(got)))


def test_a_stream_is_of_one_queue(heddle, via):
    program = heddle(queues={"mail": {"concurrency": 5}})
    client = via(program)
    with Events(client, "/tasks/events?queue=mail") as stream:
        make(program, sleep(0))
        wanted = make(program, sleep(0, queue="mail"))
        events = stream.until(is_final)
    assert {event.data["id"] for event in events} == {wanted}
    assert {event.data["queue"] for event in events} == {"mail"}


@pytest.mark.parametrize("query, field", [
    ("queue=none", "queue"), ("last_event_id=x", "last_event_id"), ("last_event_id=-1", "last_event_id"),
    ("last_event_id=99999999999999999999", "last_event_id"), ("last_event_id=", "last_event_id"),
])
def test_a_wrong_parameter_is_named(ask, query, field):
    refused(ask("GET", f"/tasks/events?{query}"), field)


def test_a_wrong_header_is_named(ask):
    refused(ask("GET", "/tasks/events", None, {"Last-Event-ID": "abc"}), "last_event_id")


# ---- many ----

def test_head_has_no_stream(ask):
    reply = ask("HEAD", "/tasks/events")
    assert reply.status == 200 and reply.media_type() == "text/event-stream"


def test_listeners_hold_no_thread_and_go_away(heddle):
    program = heddle(request_threads=2, max_connections=2000)
    wait_until_final(program, make(program, sleep(0)))
    threads = program.thread_count()
    streams = [Events(program, "/tasks/events") for _ in range(300)]
    assert program.thread_count() == threads
    assert program.metric(metrics.IN_FLIGHT) <= 1
    task_id = make(program, sleep(0))
    for stream in streams:
        assert stream.until(is_final)[-1].data["id"] == task_id
    for stream in streams:
        stream.connection.close()
    # One more event finds them gone; what is left of them does not keep the program from stopping.
    wait_until_final(program, make(program, sleep(0)))
    wait_until(lambda: program.ask("GET", "/health/ready").status == 200, "it serves others")


def test_listeners_do_not_keep_the_program_from_stopping(heddle):
    program = heddle()
    stream = Events(program, "/tasks/events")
    task = make(program, sleep(3600))
    single = Events(program, f"/tasks/{task}/events")
    program.stop()
    stream.connection.close()
    single.connection.close()


def test_too_many_listeners_are_turned_away(heddle):
    program = heddle(tasks={"max_listeners": 2})
    with Events(program, "/tasks/events?last_event_id=0") as first, \
            Events(program, "/tasks/events?last_event_id=0") as second:
        make(program, sleep(0))
        first.until(is_final)
        second.until(is_final)  # both listen by now
        assert "too many streams" in busy(program.ask("GET", "/tasks/events"))["detail"]
