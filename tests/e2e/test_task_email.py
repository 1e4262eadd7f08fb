"""Kind `email`: from POST /tasks to a mail server."""

import json
import os
import ssl
import time

import pytest

pytest.importorskip("aiosmtpd", reason="python3-aiosmtpd is not installed")

from harness.expect import detailed_problem
from harness.metrics import MAILS
from harness.programs import free_port
from harness.smtp import MailServer
from harness.wait import wait_until

JSON = {"Content-Type": "application/json"}
FINAL_STATES = {"succeeded", "dead", "cancelled"}
PAYLOAD = {"to": "jane@example.org", "subject": "Hello", "text": "Hi Jane"}
NO_WAIT = {"base": 0.01, "factor": 1, "max": 0.01, "jitter": 0}


@pytest.fixture
def mail_server():
    with MailServer() as server:
        yield server


@pytest.fixture
def start(heddle):
    def start_for(mail_server, **mail):
        return heddle(mail={"server": mail_server.url, "starttls": "never", "from": "heddle@example.com", **mail})
    return start_for


@pytest.fixture
def tls_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def post(program, payload, **members):
    body = json.dumps({"kind": "email", "payload": payload, **members})
    return program.ask("POST", "/tasks", body.encode(), JSON)


def submit(program, payload=None, **members):
    reply = post(program, payload or PAYLOAD, **members)
    assert reply.status in (200, 202), reply
    return reply.json()["id"]


def show(program, task_id):
    reply = program.ask("GET", f"/tasks/{task_id}")
    assert reply.status == 200, reply
    return reply.json()


def wait_until_final(program, task_id):
    return wait_until(lambda: (task := show(program, task_id))["state"] in FINAL_STATES and task,
                      f"task {task_id} has ended")


def send(program, payload=None, **members):
    return wait_until_final(program, submit(program, payload, **members))


def refused(program, field, **changes):
    payload = {name: value for name, value in (PAYLOAD | changes).items() if value is not None}
    problem = detailed_problem(post(program, payload), 422)
    assert problem["field"] == f"payload.{field}", problem
    return problem


# ---- what is sent ----

def test_a_text_is_delivered(start, mail_server):
    program = start(mail_server)
    task = send(program)
    assert task["state"] == "succeeded", task
    sender, recipients, message = mail_server.wait_for_message()
    assert task["result"] == {"recipients": 1, "message_id": f"<{task['id']}@example.com>", "reply": 250}
    assert (sender, recipients) == ("heddle@example.com", ["jane@example.org"])
    assert message["From"] == "heddle@example.com"
    assert message["To"] == "jane@example.org"
    assert message["Subject"] == "Hello"
    assert message["Message-ID"] == task["result"]["message_id"]
    assert abs(message["Date"].datetime.timestamp() - time.time()) < 60
    assert message.get_content_type() == "text/plain"
    assert message.get_content().splitlines() == ["Hi Jane"]
    assert program.metric(MAILS, outcome="delivered") == 1


def test_all_that_a_message_can_have(start, mail_server):
    subject = "Grüße ✉ " * 40 + "end"
    text = "Größe: 5 €\n.\n..dots\n\nFrom here\n" + "lång " * 100 + "\ntrailing \n"
    html = '<p class="x">Grüße ✉</p>\n' * 50
    payload = {
        "to": ["Jürgen Müller <juergen@example.org>", '"Doe, Jane \\"JD\\"" <jane@example.org>'],
        "cc": "Max <max@example.net>", "bcc": ["hidden@example.net"],
        "from": "José <jose@example.com>", "reply_to": "Desk <desk@example.com>",
        "subject": subject, "text": text, "html": html}
    assert send(start(mail_server), payload)["state"] == "succeeded"
    sender, recipients, message = mail_server.wait_for_message()
    assert sender == "jose@example.com"
    assert recipients == ["juergen@example.org", "jane@example.org", "max@example.net", "hidden@example.net"]
    people = [(one.display_name, one.addr_spec) for one in message["To"].addresses]
    assert people == [("Jürgen Müller", "juergen@example.org"), ('Doe, Jane "JD"', "jane@example.org")]
    assert [one.display_name for one in message["Cc"].addresses] == ["Max"]
    assert [one.display_name for one in message["From"].addresses] == ["José"]
    assert [one.addr_spec for one in message["Reply-To"].addresses] == ["desk@example.com"]
    assert message["Subject"] == subject
    assert "hidden" not in message.as_string()
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert message.get_body(("plain",)).get_content().replace("\r\n", "\n") == text
    assert message.get_body(("html",)).get_content().replace("\r\n", "\n") == html


def test_html_alone(start, mail_server):
    payload = {"to": "a@b.example", "subject": "s", "html": "<b>bold</b>"}
    assert send(start(mail_server), payload)["state"] == "succeeded"
    message = mail_server.wait_for_message()[2]
    assert message.get_content_type() == "text/html"
    assert message.get_content().strip() == "<b>bold</b>"


def test_a_hundred_recipients(start, mail_server):
    to, cc, bcc = ([f"{kind}{number}@example.org" for number in range(count)]
                   for kind, count in (("to", 50), ("cc", 30), ("bcc", 20)))
    task = send(start(mail_server), PAYLOAD | {"to": to, "cc": cc, "bcc": bcc})
    assert task["result"]["recipients"] == 100
    assert mail_server.wait_for_message()[1] == to + cc + bcc


def test_many_messages_share_a_few_connections(start, mail_server):
    program = start(mail_server, max_connections=2)
    tasks = [submit(program) for _ in range(50)]
    assert {wait_until_final(program, task)["state"] for task in tasks} == {"succeeded"}
    assert len(mail_server.envelopes) == 50
    assert mail_server.connections <= 2


# ---- what is refused before a task is made of it ----

def test_headers_cannot_be_injected(start, mail_server):
    program = start(mail_server)
    for evil in ("x\r\nBcc: evil@example.org", "x\nBcc: evil@example.org", "x\rBcc: evil@example.org"):
        refused(program, "subject", subject=evil)
        for field in ("to", "cc", "bcc", "from", "reply_to"):
            refused(program, field, **{field: f"{evil} <jane@example.org>"})
            refused(program, field, **{field: f"jane@example.org{evil[1:]}"})
    assert mail_server.connections == 0


@pytest.mark.parametrize("field, value", [
    ("to", []), ("to", 1), ("to", ""), ("to", "jane"), ("to", ["a@b", 1]), ("to", "a@b, c@d"),
    ("to", "jäne@b"), ("to", None), ("to", "a@b>\u0001"), ("cc", {}), ("bcc", [[]]), ("from", ["a@b"]), ("reply_to", "a"),
    ("subject", None), ("subject", ""), ("subject", "s" * 999), ("subject", 7), ("text", None), ("text", 7),
    ("html", []), ("to", "x" * 65 + "@b")])
def test_payloads_that_are_refused(start, mail_server, field, value):
    refused(start(mail_server), field, **{field: value})


def test_too_many_recipients(start, mail_server):
    refused(start(mail_server), "bcc", to=["a@b"] * 50, cc=["a@b"] * 50, bcc="a@b")


def test_a_message_that_is_too_long(start, mail_server):
    program = start(mail_server, max_message="2KiB")
    assert "2048 bytes" in refused(program, "text", text="=" * 1000)["detail"]
    assert send(program, PAYLOAD | {"text": "x" * 1000})["state"] == "succeeded"


def test_without_a_sender(start, mail_server):
    program = start(mail_server, **{"from": ""})
    refused(program, "from")
    assert send(program, PAYLOAD | {"from": "a@example.org"})["state"] == "succeeded"


def test_without_a_mail_server(heddle):
    assert refused(heddle(), "to")["detail"] == "no mail server is configured"


# ---- what the server says ----

@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_4yz_is_tried_again(start, step):
    with MailServer({step: ["451 4.3.0 later"]}) as server:
        program = start(server)
        task = send(program, max_attempts=3, backoff=NO_WAIT)
        assert (task["state"], task["attempts"]) == ("succeeded", 2), task
        assert len(server.envelopes) == 1
        assert program.metric(MAILS, outcome="deferred") == 1


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_5yz_is_final(start, step):
    with MailServer({step: ["550 5.1.1 no such user"]}) as server:
        program = start(server)
        task = send(program, max_attempts=3, backoff=NO_WAIT)
        assert (task["state"], task["attempts"]) == ("dead", 1), task
        assert task["error"] == "the mail server answered 550 5.1.1 no such user"
        assert server.envelopes == []
        assert program.metric(MAILS, outcome="refused") == 1


def test_when_one_recipient_is_refused_nobody_gets_it(start):
    with MailServer({"RCPT": ["250 OK", "550 no such user"]}) as server:
        task = send(start(server), PAYLOAD | {"to": ["a@b", "c@d", "e@f"]}, max_attempts=3, backoff=NO_WAIT)
        assert (task["state"], task["attempts"]) == ("dead", 1)
        assert server.asked == {"MAIL": 1, "RCPT": 2, "DATA": 0}


def test_a_server_that_is_gone_is_tried_again(start, mail_server):
    program = start(mail_server, server=f"smtp://127.0.0.1:{free_port()}")
    task = send(program, max_attempts=2, backoff=NO_WAIT)
    assert (task["state"], task["attempts"]) == ("dead", 2)
    assert task["error"].startswith("the mail server could not be used")
    assert program.metric(MAILS, outcome="failed") == 2


# ---- login and TLS ----

@pytest.mark.filterwarnings("ignore:Requiring AUTH")
@pytest.mark.parametrize("password, state", [("secret", "succeeded"), ("wrong", "dead")])
def test_login(heddle, password, state):
    with MailServer(login=("heddle", "secret")) as server:
        program = heddle(mail={"server": server.url, "starttls": "never", "from": "a@b", "user": "heddle",
                               "password": "${MAIL_PASSWORD}"}, env={"MAIL_PASSWORD": password})
        task = send(program, max_attempts=3, backoff=NO_WAIT)
        assert (task["state"], task["attempts"]) == (state, 1), task
        if state == "dead":
            assert task["error"].startswith("the mail server answered 535")
        assert password not in json.dumps(task) and password not in program.log()


def test_starttls(heddle, tls_context, certificate):
    with MailServer(login=("heddle", "secret"), context=tls_context, require_tls=True) as server:
        program = heddle(mail={"server": server.url, "starttls": "required", "from": "a@b", "user": "heddle",
                               "password": "secret"}, fetch={"ca_file": os.fspath(certificate[0])})
        assert send(program)["state"] == "succeeded"


def test_nothing_is_sent_to_whom_is_not_trusted(start, tls_context):
    with MailServer(context=tls_context) as server:
        task = send(start(server, starttls="required"), max_attempts=1)
        assert task["state"] == "dead" and "certificate" in task["error"], task
        assert server.asked["MAIL"] == 0


def test_nothing_is_sent_in_the_clear_when_tls_is_required(start, mail_server):
    task = send(start(mail_server, starttls="required"), max_attempts=1)
    assert task["state"] == "dead"
    assert mail_server.asked["MAIL"] == 0


def test_without_starttls_the_rest_is_tried(start, mail_server):
    assert send(start(mail_server, starttls="try"))["state"] == "succeeded"


# ---- ends from outside ----

@pytest.mark.parametrize("step", ["MAIL", "DATA"])
def test_a_cancel_ends_a_stall_at_once(start, step):
    with MailServer({step: ["stall"]}) as server:
        program = start(server)
        task_id = submit(program)
        wait_until(lambda: server.stalled == 1, "the server stalls")
        before = time.monotonic()
        assert program.ask("POST", f"/tasks/{task_id}/cancel").status in (200, 202)
        assert wait_until_final(program, task_id)["state"] == "cancelled"
        wait_until(lambda: program.metric(MAILS, outcome="cancelled") == 1, "the mail is counted")
        assert time.monotonic() - before < 0.5  # libcurl itself looks up once a second
        assert send(program)["state"] == "succeeded"


def test_a_deadline_ends_a_stall(start):
    with MailServer({"DATA": ["stall"]}) as server:
        program = start(server)
        task = send(program, timeout=1, max_attempts=5, backoff=NO_WAIT)
        assert task["state"] == "succeeded" and task["attempts"] >= 2, task


def test_the_mail_time_out_ends_a_stall(start):
    with MailServer({"DATA": ["stall"]}) as server:
        program = start(server, timeout="300ms")
        task = send(program, max_attempts=1)
        assert task["state"] == "dead" and "timed out" in task["error"], task
        assert program.metric(MAILS, outcome="timeout") == 1


def test_a_stall_holds_up_no_stop(start):
    with MailServer({"DATA": ["stall"] * 3}) as server:
        program = start(server, max_connections=1)
        for _ in range(3):
            submit(program)
        wait_until(lambda: server.stalled == 1, "the server stalls")
        before = time.monotonic()
        program.stop()
        assert time.monotonic() - before < 15
