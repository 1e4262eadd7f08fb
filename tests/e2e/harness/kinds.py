"""Tasks of any kind: submitted by POST /tasks, looked at until they have come to an end."""

import json
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.expect import detailed_problem
from harness.wait import wait_until

JSON = {"Content-Type": "application/json"}
FINAL_STATES = {"succeeded", "dead", "cancelled"}
QUICKLY = {"base": 0.01}  # the back-off of tasks that are to fail several times


def post(program, kind, payload, headers=None, **options):
    """The answer to POST /tasks."""
    body = {"kind": kind, "payload": payload, "backoff": QUICKLY, **options}
    return program.ask("POST", "/tasks", json.dumps(body).encode(), {**JSON, **(headers or {})})


def submit(program, kind, payload, headers=None, **options):
    """The id of a task that was accepted."""
    reply = post(program, kind, payload, headers, **options)
    assert reply.status == 202, reply
    return reply.json()["id"]


def refused(program, kind, payload, **options):
    """The 422 to a payload that is not good."""
    return detailed_problem(post(program, kind, payload, **options), 422)


def show(program, task_id):
    reply = program.ask("GET", f"/tasks/{task_id}")
    assert reply.status == 200, reply
    return reply.json()


def wait_for_state(program, task_id, *states):
    return wait_until(lambda: (task := show(program, task_id))["state"] in states and task,
                      f"task {task_id} is {' or '.join(states)}")


def wait_until_final(program, task_id):
    return wait_for_state(program, task_id, *FINAL_STATES)


def run(program, kind, payload, headers=None, **options):
    """The task after its end."""
    return wait_until_final(program, submit(program, kind, payload, headers, **options))


def succeed(program, kind, payload, **options):
    """The result of a task that has to succeed."""
    task = run(program, kind, payload, **options)
    assert task["state"] == "succeeded", task
    return task["result"]


def die(program, kind, payload, **options):
    """A task that has to fail."""
    task = run(program, kind, payload, **options)
    assert task["state"] == "dead", task
    return task


def cancel(program, task_id):
    reply = program.ask("POST", f"/tasks/{task_id}/cancel", b"", JSON)
    assert reply.status in (200, 202), reply


Received = namedtuple("Received", "method path headers body")  # headers by their name in lower case


class Receiver:
    """An HTTP server that keeps what it got, and answers with the next of `answers`: (status, headers, body);
    with 200 when there are none left.  `hold` makes it wait for release()."""

    def __init__(self, answers=(), hold=False):
        self.received = []
        self.answers = list(answers)
        self.lock = threading.Lock()
        self.go_on = threading.Event()
        if not hold:
            self.go_on.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, text = receiver.take(self, body)
                receiver.go_on.wait(60)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    def take(self, handler, body):
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self.lock:
            self.received.append(Received(handler.command, handler.path, headers, body))
            return self.answers.pop(0) if self.answers else (200, {}, b"")

    def forget(self):
        with self.lock:
            self.received, self.answers = [], []

    def url(self, path="/"):
        return f"http://{self.host}{path}"

    def release(self):
        self.go_on.set()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.release()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
