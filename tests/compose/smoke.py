"""Smoke tests of the stack of docker-compose.yml.  scripts/test-compose.sh starts it and runs them.

HEDDLE_URL says where nginx is; COMPOSE is the command that knows the stack: docker-compose or docker compose.
"""

import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

URL = os.environ["HEDDLE_URL"]
COMPOSE = os.environ["COMPOSE"].split()
SERVICES = ["nginx", "heddle", "upstream"]
PROBLEM = "application/problem+json"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def inspect(service):
    container = run(*COMPOSE, "ps", "-a", "-q", service)
    return json.loads(run("docker", "inspect", container))[0]


class Answer:
    def __init__(self, reply):
        self.status = reply.status
        self.headers = reply.headers
        self.text = reply.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


def ask(path, body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(URL + path, data=body, headers=headers)
    try:
        return Answer(urllib.request.urlopen(request, timeout=30))
    except urllib.error.HTTPError as error:
        return Answer(error)


def post_task(task, content_type="application/json"):
    return ask("/start_background_task/", json.dumps(task).encode(), Content_Type=content_type)


def wait_until(predicate, what, timeout=30):
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.1)


def is_ready():
    try:
        return ask("/health/ready").status == 200
    except OSError:
        return False


def healthy(service):
    return inspect(service)["State"]["Health"]["Status"] == "healthy"


@pytest.fixture(scope="session", autouse=True)
def stack_is_ready():
    wait_until(is_ready, "the stack is ready")


def test_fan_out_takes_as_long_as_its_slowest_part():
    answer = ask("/concurrent_requests/")
    assert answer.status == 200
    results = answer.json["results"]
    assert len(results) == 10
    assert [result.get("error") for result in results] == [None] * 10
    assert [result["elapsed"] for result in results] == sorted(result["elapsed"] for result in results)
    assert 1.0 <= answer.json["total_time"] < 2.0


def test_background_task_is_accepted_and_can_be_looked_at():
    answer = post_task({"message": "hello", "duration": 60})
    assert answer.status == 202
    task = answer.json["task"]
    assert answer.headers["Location"] == f"/tasks/{task['id']}"
    assert ask(answer.headers["Location"]).json["kind"] == "sleep"


def test_missing_field_is_400():
    answer = post_task({"message": "hello"})
    assert (answer.status, answer.headers["Content-Type"]) == (400, PROBLEM)
    assert answer.json["error"] == "Missing message or duration in request"


def test_body_that_is_not_json_is_415():
    assert post_task({}, content_type="text/plain").status == 415


def test_body_over_the_limit_is_refused_by_nginx_in_heddles_form():
    answer = ask("/start_background_task/", b"x" * 70000, Content_Type="application/json")
    assert (answer.status, answer.headers["Content-Type"]) == (413, PROBLEM)
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


def test_unknown_path_is_404_and_wrong_method_405():
    assert ask("/no/such/path").status == 404
    answer = ask("/concurrent_requests/", b"{}")
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]


def test_request_id_is_nginxs_own():
    answer = ask("/health/live", X_Request_Id="forged")
    assert len(answer.headers["X-Request-Id"]) == 32
    assert answer.headers.get_all("X-Request-Id") == [answer.headers["X-Request-Id"]]


def test_metrics_are_served_to_private_addresses():
    answer = ask("/metrics")
    assert answer.status == 200
    assert "heddle_" in answer.text


@pytest.mark.parametrize("service", SERVICES)
def test_container_is_locked_in(service):
    container = inspect(service)
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0 and host["PidsLimit"] > 0
    assert container["Config"]["User"] == "heddle"
    assert run(*COMPOSE, "exec", "-T", service, "id", "-u") == "10001"
    with pytest.raises(subprocess.CalledProcessError):
        run(*COMPOSE, "exec", "-T", service, "touch", "/file")


@pytest.mark.parametrize("service", SERVICES)
def test_container_is_healthy(service):
    wait_until(lambda: healthy(service), f"{service} is healthy")


def fetches_in_flight():
    lines = ask("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("heddle_fetches_in_flight"))


def test_stop_finishes_what_is_in_flight_and_start_brings_it_back():
    answers = []
    client = threading.Thread(target=lambda: answers.append(ask("/concurrent_requests/")))
    client.start()
    wait_until(lambda: fetches_in_flight() > 0, "the fan-out is in flight")
    run(*COMPOSE, "stop", "heddle")
    client.join()
    assert answers[0].status == 200
    assert [result.get("error") for result in answers[0].json["results"]] == [None] * 10
    assert inspect("heddle")["State"]["ExitCode"] == 0

    answer = ask("/health/ready")
    assert (answer.status, answer.headers["Content-Type"]) == (502, PROBLEM)
    assert answer.headers["Retry-After"]

    run(*COMPOSE, "start", "heddle")
    wait_until(is_ready, "heddle is back")
    assert ask("/concurrent_requests/").status == 200


def test_task_outlives_a_killed_container():
    path = post_task({"message": "hello", "duration": 600}).headers["Location"]
    run(*COMPOSE, "kill", "-s", "KILL", "heddle")
    run(*COMPOSE, "start", "heddle")
    wait_until(is_ready, "heddle is back")
    wait_until(lambda: ask(path).json["state"] == "running", "the task runs again")
    assert ask(path).json["interruptions"] == 1
