"""TLS to upstreams: whom heddle trusts, who it says it is, which versions it speaks, files that change."""

import shutil
import socket
import ssl
from contextlib import ExitStack

import pytest

from harness.endpoints import ask_at_once, endpoint, errors, part, reasons, service, values
from harness.tls import Authority, TlsUpstream
from harness.wait import wait_until

ECHO = {"echo": "1", "json": None}
RETRIES = {"enabled": False}
BREAKER = {"enabled": False}


@pytest.fixture
def serve(fresh_upstream, authority, tmp_path):
    """serve(certificate=..., lines=..., http2=...): an upstream for localhost and 127.0.0.1."""
    with ExitStack() as stack:
        def serve(certificate=None, **options):
            pair = certificate or authority.issue("server", "localhost", "127.0.0.1")
            return stack.enter_context(TlsUpstream(fresh_upstream, tmp_path / "tls", pair, **options))
        yield serve


@pytest.fixture
def start(heddle, authority):
    """start(url, tls={...}, http2=...): /e shows the headers that came to the mock."""
    def start(url, tls=None, fetch=None, **settings):
        return heddle(upstreams=[service("u", url, tls={"ca_file": str(authority.cert), **(tls or {})},
                                         retry=RETRIES, breaker=BREAKER, **settings)],
                      endpoints=[endpoint("/e", part("p", "u", query=ECHO, select="/headers"))],
                      fetch=fetch or {})
    return start


def seen(program, target="/e"):
    return values(program.ask("GET", target))["p"]


def refused(program):
    assert reasons(program.ask("GET", "/e")) == {"p": "tls"}


def test_an_upstream_with_a_certificate_of_the_own_authority(start, serve):
    assert seen(start(serve().url()))["X-Tls"] == "TLSv1.3"


def test_the_name_is_what_the_certificate_says(start, serve):
    server = serve()
    assert seen(start(server.url("localhost")))["X-Tls"]


def test_a_certificate_for_another_name_is_refused(start, serve, authority, fresh_upstream):
    refused(start(serve(authority.issue("other", "other.test")).url()))
    assert fresh_upstream.stats()["requests"] == 0


def test_a_certificate_of_another_authority_is_refused(start, serve, tmp_path, fresh_upstream):
    stranger = Authority(tmp_path / "stranger")
    program = start(serve(stranger.issue("server", "127.0.0.1")).url())
    error = errors(program.ask("GET", "/e"))["p"]
    assert error["reason"] == "tls" and error["error"]
    assert fresh_upstream.stats()["requests"] == 0


def test_a_certificate_that_is_not_of_the_systems_authorities_is_refused(start, serve):
    refused(start(serve().url(), tls={"ca_file": ""}))


def test_verification_can_be_switched_off(start, serve, tmp_path):
    stranger = Authority(tmp_path / "stranger")
    program = start(serve(stranger.issue("server", "other.test")).url(), tls={"verify": False})
    assert seen(program)["X-Tls"]


# ---- who heddle is --------------------------------------------------------------------------------

def asks_for_clients(authority):
    return f"ssl_verify_client on; ssl_client_certificate {authority.cert};"


def client_files(authority, name):
    cert, key = authority.issue(name)
    return {"cert_file": str(cert), "key_file": str(key)}


def test_a_client_certificate_is_shown_to_who_asks(start, serve, authority):
    server = serve(lines=asks_for_clients(authority))
    assert seen(start(server.url(), tls=client_files(authority, "heddle")))["X-Client"] == "CN=heddle"


def test_without_one_it_is_turned_away(start, serve, authority, fresh_upstream):
    server = serve(lines=asks_for_clients(authority))
    assert reasons(start(server.url()).ask("GET", "/e")) == {"p": "http_status"}
    assert fresh_upstream.stats()["requests"] == 0


# ---- versions -------------------------------------------------------------------------------------

def test_the_oldest_version_is_configured(start, serve):
    server = serve(versions="TLSv1.2")
    refused(start(server.url(), tls={"min_version": "1.3"}))


def test_an_older_version_is_spoken_when_it_may(start, serve):
    server = serve(versions="TLSv1.2")
    assert seen(start(server.url(), tls={"min_version": "1.2"}))["X-Tls"] == "TLSv1.2"


def test_http_2_is_spoken_where_it_is_offered(start, serve):
    program = start(serve().url())
    for reply in ask_at_once(program, "/e?delay=20", 20):
        assert values(reply)["p"]["X-Protocol"] == "HTTP/2.0"


def test_many_requests_share_a_connection(start, serve):
    """Once they are there: those that come first do not wait for one another."""
    program = start(serve().url(), max_in_flight=100, fetch={"workers": 1})
    ask_at_once(program, "/e?delay=100", 40)
    replies = [values(reply)["p"] for reply in ask_at_once(program, "/e?delay=100", 40)]
    assert len({one["X-Connection"] for one in replies}) <= 8


@pytest.mark.parametrize("offered, wanted", [(False, True), (True, False)])
def test_http_1_otherwise(start, serve, offered, wanted):
    program = start(serve(http2=offered).url(), http2=wanted)
    assert seen(program)["X-Protocol"] == "HTTP/1.1"


# ---- files that change ----------------------------------------------------------------------------

NO_KEEPING = "keepalive_timeout 0;"


def replace(new, old):
    """As one step, so that nobody reads a half."""
    copy = old.with_suffix(".new")
    shutil.copy(new, copy)
    copy.replace(old)


def test_a_changed_authority_is_taken_up(start, serve, authority, tmp_path):
    stranger = Authority(tmp_path / "stranger")
    trusted = tmp_path / "trusted.pem"
    shutil.copy(stranger.cert, trusted)
    program = start(serve(lines=NO_KEEPING).url(), tls={"ca_file": str(trusted)})
    refused(program)
    replace(authority.cert, trusted)
    wait_until(lambda: program.ask("GET", "/e").status == 200, "the new authority is trusted")
    replace(stranger.cert, trusted)
    wait_until(lambda: program.ask("GET", "/e").status == 502, "the old one is not trusted any more")


def test_a_changed_client_certificate_is_taken_up(start, serve, authority, tmp_path):
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    for new, old in zip(authority.issue("before"), (cert, key)):
        shutil.copy(new, old)
    program = start(serve(lines=NO_KEEPING + asks_for_clients(authority)).url(),
                    tls={"cert_file": str(cert), "key_file": str(key)})
    assert seen(program)["X-Client"] == "CN=before"
    for new, old in zip(authority.issue("after"), (cert, key)):
        replace(new, old)
    wait_until(lambda: seen_or_none(program) == "CN=after", "the new certificate is shown")


def seen_or_none(program):
    """Between the change of the one file and of the other the two do not belong together."""
    reply = program.ask("GET", "/e")
    return values(reply)["p"].get("X-Client") if reply.status == 200 else None


def test_a_broken_file_leaves_what_was(start, serve, authority, tmp_path):
    trusted = tmp_path / "trusted.pem"
    shutil.copy(authority.cert, trusted)
    program = start(serve(lines=NO_KEEPING).url(), tls={"ca_file": str(trusted)})
    assert seen(program)
    broken = tmp_path / "broken"
    broken.write_text("this is no certificate")
    replace(broken, trusted)
    wait_until(lambda: seen(program) and "trusted.pem" in program.log(), "it says that the file is of no use")
    assert seen(program)


def test_the_servers_of_these_tests_are_what_they_say(serve, authority):
    """A client that is not ours agrees."""
    server = serve()
    context = ssl.create_default_context(cafile=authority.cert)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        with context.wrap_socket(sock, server_hostname="localhost") as tls:
            assert (tls.version(), tls.selected_alpn_protocol()) == ("TLSv1.3", "h2")
