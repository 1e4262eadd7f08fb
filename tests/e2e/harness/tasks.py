"""Tasks, as a client speaks of them."""

import json

from harness.expect import TIMESTAMP, detailed_problem
from harness.wait import wait_until

JSON = {"Content-Type": "application/json"}
FINAL_STATES = {"succeeded", "dead", "cancelled"}
STATES = {"scheduled", "queued", "running"} | FINAL_STATES
NO_ID = "01890000-0000-7000-8000-000000000000"


def post(client, path, body=None, headers=None):
    """POST `body`, a value or bytes, as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return client.ask("POST", path, data, JSON | (headers or {}))


def sleep(duration=0, message="m", **members):
    """A request for a task of kind `sleep`."""
    return {"kind": "sleep", "payload": {"message": message, "duration": duration}, **members}


def submit(client, request, headers=None):
    return post(client, "/tasks", request, headers)


def check_task(task):
    assert {"id", "kind", "state", "queue", "priority", "created_at", "attempts"} <= task.keys()
    assert task["state"] in STATES
    times = [value for name, value in task.items() if name.endswith("_at")]
    assert all(TIMESTAMP.fullmatch(value) for value in times), task
    return task


def accepted(reply):
    """The task in a 202."""
    assert reply.status == 202, reply
    assert reply.media_type() == "application/json"
    task = check_task(reply.json())
    assert reply.headers["location"] == f"/tasks/{task['id']}"
    assert int(reply.headers["retry-after"]) >= 1
    return task


def shown(reply):
    """The task in a 200."""
    assert reply.status == 200, reply
    assert reply.headers["etag"].strip('"').isdigit()
    return check_task(reply.json())


def show(client, task_id):
    return shown(client.ask("GET", f"/tasks/{task_id}"))


def refused(reply, field, status=422):
    """A problem that names the member."""
    problem = detailed_problem(reply, status)
    assert problem.get("field") == field, problem
    return problem


def wait_for(client, task_id, *states):
    return wait_until(lambda: (task := show(client, task_id))["state"] in states and task,
                      f"task {task_id} is {' or '.join(states)}")


def wait_until_final(client, task_id):
    return wait_for(client, task_id, *FINAL_STATES)
