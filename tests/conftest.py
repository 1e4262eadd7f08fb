"""Fixtures of the end-to-end and fault tests.

    upstream     the mock upstream, one for all tests; `fresh_upstream` has counters of its own
    heddle       starts a heddle with the settings given; stopped and judged at the test's end
    server       one heddle for all tests that need nothing special of it
    via          runs a test twice: through nginx, and over a direct FastCGI connection;
                 via(heddle).ask(method, target, body, headers) asks that heddle
    ask          asks the server, in both ways
    certificate  files for a TLS server on localhost
    authority    signs certificates
    names        what names that end in .test mean to a heddle that is started with env=names.env
    twins        two mock upstreams on one port of 127.0.0.1 and 127.0.0.2
"""

import subprocess
from contextlib import ExitStack

import pytest

from harness import programs
from harness.heddle import Heddle
from harness.mock import MockUpstream
from harness.names import Names, build_library
from harness.nginx import Nginx
from harness.tls import Authority


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    report = (yield).get_result()
    if report.failed:
        report.sections.extend(programs.log_tails())


@pytest.fixture(autouse=True)
def forget_ended_programs():
    programs.started[:] = [program for program in programs.started if program.running()]


@pytest.fixture(scope="session")
def upstream(tmp_path_factory):
    with MockUpstream(tmp_path_factory.mktemp("upstream"), ports=4) as mock:
        yield mock


@pytest.fixture
def fresh_upstream(tmp_path):
    with MockUpstream(tmp_path) as mock:
        yield mock


@pytest.fixture
def heddle(tmp_path):
    with ExitStack() as stack:
        def start(*arguments, name="heddle", **settings):
            return stack.enter_context(Heddle(tmp_path, *arguments, name=name, **settings))
        yield start


@pytest.fixture(scope="session")
def session_server(tmp_path_factory, upstream):
    urls = [upstream.url(f"/{number}", delay=number, size=200) for number in range(3)]
    with Heddle(tmp_path_factory.mktemp("server"), urls) as program:
        yield program


@pytest.fixture
def server(session_server):
    """The shared heddle, which no test may bring down."""
    yield session_server
    assert session_server.running(), "this test brought the shared heddle down"


@pytest.fixture(scope="session")
def session_nginx(tmp_path_factory, session_server):
    with Nginx(session_server.address_for_nginx, tmp_path_factory.mktemp("nginx") / "nginx") as nginx:
        yield nginx


@pytest.fixture(params=["nginx", "fastcgi"])
def via(request, tmp_path):
    with ExitStack() as stack:
        def client(program):
            if request.param == "fastcgi":
                return program
            return stack.enter_context(Nginx(program.address_for_nginx, tmp_path / f"nginx-{program.pid}"))
        client.name = request.param
        yield client


@pytest.fixture
def ask(request, via, server):
    client = request.getfixturevalue("session_nginx") if via.name == "nginx" else server
    return client.ask


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key) of localhost and 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
               "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
               "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the certificate, is not installed")
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    try:
        return Authority(tmp_path_factory.mktemp("authority"))
    except FileNotFoundError:
        pytest.skip("openssl, which makes certificates, is not installed")


@pytest.fixture(scope="session")
def names_library(tmp_path_factory):
    return build_library(tmp_path_factory.mktemp("names"))


@pytest.fixture
def names(names_library, tmp_path):
    return Names(names_library, tmp_path)


@pytest.fixture
def twins(tmp_path):
    with MockUpstream(tmp_path, name="twin-1") as first, \
            MockUpstream(tmp_path, address="127.0.0.2", port=first.port, name="twin-2") as second:
        yield first, second
