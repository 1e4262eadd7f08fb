"""GET /concurrent_requests/: many URLs at once, answered when the last one is in."""

import os
import socket
import ssl
import threading

import pytest

from harness import metrics
from harness.expect import by_url, fan_out
from harness.programs import Program, free_port
from harness.wait import wait_until

PATH = "/concurrent_requests/"


def test_results_come_in_the_order_of_completion(heddle, via, upstream):
    delays = [900, 100, 600, 300]
    program = heddle([upstream.url(f"/{delay}", delay=delay) for delay in delays])
    body = fan_out(via(program).ask("GET", PATH))
    assert [result["url"] for result in body["results"]] == [
        upstream.url(f"/{delay}", delay=delay) for delay in sorted(delays)]
    elapsed = [result["elapsed"] for result in body["results"]]
    assert elapsed == sorted(elapsed)
    assert all(took >= delay / 1000 for took, delay in zip(elapsed, sorted(delays)))


def test_time_is_that_of_the_slowest_and_not_the_sum(heddle, via, upstream):
    program = heddle([upstream.url(f"/{number}", delay=400) for number in range(20)])
    body = fan_out(via(program).ask("GET", PATH))
    assert len(body["results"]) == 20
    assert 0.4 <= body["total_time"] < 20 * 0.4 / 2


@pytest.mark.parametrize("path", [PATH, "/concurrent_requests", PATH + "?x=1"])
def test_path_with_and_without_slash(ask, server, path):
    body = fan_out(ask("GET", path))
    assert {result["url"] for result in body["results"]} == set(server.config["concurrent_requests"]["urls"])


@pytest.mark.parametrize("path", [PATH, "/health/live", "/tasks"])
def test_head_answers_like_get_without_the_body(ask, path):
    head, get = ask("HEAD", path), ask("GET", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_first_characters_of_the_body_not_bytes(heddle, via, upstream):
    texts = ["plain text", "äöüßéèçñ", "😀😁😂🤣😃😄", "e\u0301e\u0301e\u0301", "漢字かな交じり", "abc", "",
             "a\u0000b\tc\n\"\\"]
    urls = {upstream.url(body=text.encode(), type="text/plain; charset=utf-8"): text for text in texts}
    program = heddle(urls, concurrent_requests={"content_chars": 5})
    results = by_url(fan_out(via(program).ask("GET", PATH)))
    assert {url: result["content"] for url, result in results.items()} == {
        url: text[:5] for url, text in urls.items()}


def test_a_hundred_characters_by_default(heddle, upstream):
    program = heddle([upstream.url(size=5000, type="text/plain; charset=utf-8")])
    [result] = fan_out(program.ask("GET", PATH))["results"]
    assert len(result["content"]) == 100


def test_no_characters_when_configured_so(heddle, upstream):
    program = heddle([upstream.url(size=50)], concurrent_requests={"content_chars": 0})
    [result] = fan_out(program.ask("GET", PATH))["results"]
    assert result["content"] == ""


CHARSETS = [
    ("text/html; charset=ISO-8859-1", "été".encode("latin-1"), "été"),
    ('text/html; Charset="iso-8859-1"', "été".encode("latin-1"), "été"),
    ("text/html;charset=windows-1252", b"\x80 5", "€ 5"),
    ("text/html; charset=utf-16", "\ufeffgrüße".encode("utf-16-le"), "grüße"),
    ("text/html; charset=utf-16", "\ufeffgrüße".encode("utf-16-be"), "grüße"),
    ("text/html; charset=utf-16le", "grüße 😀".encode("utf-16-le"), "grüße 😀"),
    ("text/html; charset=utf-16be", "grüße 😀".encode("utf-16-be"), "grüße 😀"),
    ("text/html; charset=Shift_JIS", "日本語テスト".encode("shift_jis"), "日本語テスト"),
    ("text/html; charset=gb18030", "中文😀".encode("gb18030"), "中文😀"),
    ("text/html; charset=euc-kr", "한국어".encode("euc-kr"), "한국어"),
    ("text/html; charset=koi8-r", "привет".encode("koi8-r"), "привет"),
    ("text/html; charset=utf-8", b"a\xffb\xfec", "a\ufffdb\ufffdc"),
    ("text/html; charset=utf-8", b"caf\xe9 x", "caf\ufffd x"),
    ("text/html; charset=us-ascii", b"a\xe4b", "a\ufffdb"),
    ("text/html; charset=no-such-charset", "naïve".encode(), "naïve"),
    ("text/html; charset=no-such-charset", b"a\xffb", "a\ufffdb"),
    ("text/html; charset=", "naïve".encode(), "naïve"),
    ("text/html", "naïve".encode(), "naïve"),
    ("", "naïve".encode(), "naïve"),
    ("text/html", "\ufeffbom".encode(), "bom"),
    ("text/html; charset=iso-8859-1", "\ufeffböm".encode(), "böm"),
    ("application/json; charset=utf-8; x=y", '{"a": "ü"}'.encode(), '{"a": "ü"}'),
]


def test_bodies_are_decoded_by_their_charset(heddle, via, upstream):
    urls = {upstream.url(f"/{number}", type=kind, body=body): text
            for number, (kind, body, text) in enumerate(CHARSETS)}
    results = by_url(fan_out(via(heddle(urls)).ask("GET", PATH)))
    assert {url: result.get("content", result) for url, result in results.items()} == urls


@pytest.mark.parametrize("chars", [1, 7, 50, 100, 1000])
def test_a_long_body_is_cut_between_characters(heddle, upstream, chars):
    """Only its beginning is kept; what is cut there in the middle of a character must not be seen."""
    text = "aé漢😀" * 200
    urls = [upstream.url(type=f"text/plain; charset={charset}", body=text.encode(charset))
            for charset in ("utf-8", "utf-16le", "utf-16", "gb18030")]
    program = heddle(urls, concurrent_requests={"content_chars": chars})
    results = by_url(fan_out(program.ask("GET", PATH)))
    assert [results[url].get("content") for url in urls] == [text[:chars]] * 4


BROKEN = {
    "utf-8": [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80",
              b"\x80" * 300, bytes(range(256))],
    "utf-16le": [b"a", b"\x00\xd8", b"\x00\xd8a\x00", b"\x00\xdc\x00\xdc"],
    "shift_jis": [b"\x81", b"\xfd\xfe\xff" * 100, bytes(range(256))],
    "gb18030": [b"\x81\x30", b"\xff" * 200, bytes(range(256))],
    "utf-7": [b"+//////", b"+AGE-b"],
    "iso-2022-jp": [b"\x1b$B\xff\xff", bytes(range(256))],
    "../../etc/passwd": [b"ok"], "utf-8//IGNORE": [b"a\xffb"], "x" * 500: [b"ok"],
}


def test_whatever_comes_the_answer_is_valid_utf8(heddle, via, upstream):
    urls = [upstream.url(f"/{number}", type=f"text/plain; charset={charset}", body=body)
            for charset, bodies in BROKEN.items() for number, body in enumerate(bodies)]
    results = by_url(fan_out(via(heddle(urls)).ask("GET", PATH)))
    assert results.keys() == set(urls)
    assert all(len(result["content"]) <= 100 for result in results.values())


def test_a_charset_is_not_a_command_to_iconv(heddle, upstream):
    program = heddle([upstream.url(type="text/plain; charset=utf-8//IGNORE", body=b"a\xffb")])
    [result] = fan_out(program.ask("GET", PATH))["results"]
    assert result["content"] == "a\ufffdb"


def test_gzip_is_decoded(heddle, via, upstream):
    urls = [upstream.url(gzip=1, body="hello", type="text/plain"),
            upstream.url(gzip=1, size=20000), upstream.url(gzip=1, chunked=1, size=300)]
    results = by_url(fan_out(via(heddle(urls)).ask("GET", PATH)))
    assert results[urls[0]]["content"] == "hello"
    assert all(result["status"] == 200 for result in results.values())


def test_chunked_slow_and_closed_bodies_are_whole(heddle, upstream):
    urls = [upstream.url(chunked=1, body="hello", type="text/plain"),
            upstream.url(drip=1, body="hello", type="text/plain"),
            upstream.url(drip_header=1, body="hello", type="text/plain"),
            upstream.url(close=1, body="hello", type="text/plain")]
    results = by_url(fan_out(heddle(urls).ask("GET", PATH)))
    assert [results[url]["content"] for url in urls] == ["hello"] * 4


def test_other_successes_are_successes(heddle, upstream):
    urls = [upstream.url(status=status) for status in (201, 203, 204)]
    results = by_url(fan_out(heddle(urls).ask("GET", PATH)))
    assert [results[url]["status"] for url in urls] == [201, 203, 204]


def test_redirects_are_followed(heddle, via, upstream):
    urls = [upstream.url(redirect=1, body="there", type="text/plain"),
            upstream.url(redirect=10, body="there", type="text/plain"),
            upstream.url(redirect_to=upstream.url("/other", origin=1, body="there", type="text/plain"))]
    results = by_url(fan_out(via(heddle(urls)).ask("GET", PATH)))
    assert [(results[url]["status"], results[url]["content"]) for url in urls] == [(200, "there")] * 3


def test_a_url_that_stands_there_twice_is_fetched_twice(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url("/same", delay=100)] * 5)
    before = fresh_upstream.stats()["requests"]
    body = fan_out(program.ask("GET", PATH))
    assert [result["url"] for result in body["results"]] == [fresh_upstream.url("/same", delay=100)] * 5
    assert fresh_upstream.stats()["requests"] - before == 5


def test_no_urls_no_results(heddle, via):
    program = heddle([])
    body = fan_out(via(program).ask("GET", PATH))
    assert body["results"] == []
    assert 0 <= body["total_time"] < 5


def test_two_hundred_urls_in_one_request(heddle, via, upstream):
    urls = [upstream.url(f"/{number}", origin=number % 4, delay=number % 50, size=3000)
            for number in range(200)]
    assert by_url(fan_out(via(heddle(urls)).ask("GET", PATH))).keys() == set(urls)


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_max_concurrency_is_kept(heddle, fresh_upstream, limit):
    urls = [fresh_upstream.url(f"/{number}", delay=40) for number in range(15)]
    program = heddle(urls, concurrent_requests={"max_concurrency": limit})
    body = fan_out(program.ask("GET", PATH))
    assert by_url(body).keys() == set(urls)
    assert fresh_upstream.stats()["max_in_flight"] == limit
    assert body["total_time"] >= 15 // limit * 0.04


def test_without_max_concurrency_all_are_in_flight(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(f"/{number}", delay=1500) for number in range(40)])
    fan_out(program.ask("GET", PATH))
    assert fresh_upstream.stats()["max_in_flight"] == 40


def test_max_concurrency_goes_on_after_failures(heddle, upstream):
    urls = [upstream.url(f"/{number}", hangup="before") for number in range(8)] + [upstream.url("/last")]
    program = heddle(urls, concurrent_requests={"max_concurrency": 2})
    results = by_url(fan_out(program.ask("GET", PATH)))
    assert len(results) == 9 and results[urls[-1]]["status"] == 200


def test_many_clients_at_once(heddle, via, upstream):
    program = heddle([upstream.url(f"/{number}", delay=50) for number in range(10)])
    client = via(program)
    bodies = []

    def ask_twice():
        for _ in range(2):
            bodies.append(fan_out(client.ask("GET", PATH)))
    threads = [threading.Thread(target=ask_twice) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(body["results"]) for body in bodies] == [10] * 60
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")


def test_the_request_is_what_servers_expect(heddle, upstream):
    program = heddle([upstream.url("/a/b", echo=1)], concurrent_requests={"content_chars": 4000})
    headers = {"Proxy": "http://127.0.0.1:1", "Cookie": "secret=1"}
    [result] = fan_out(program.ask("GET", PATH, headers=headers))["results"]
    assert '"method"' in result["content"] and "GET" in result["content"]
    assert "heddle" in result["content"].lower(), "no User-Agent"
    assert "secret" not in result["content"]


def test_no_proxy_is_taken_from_the_environment(heddle, upstream):
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY")
    program = heddle([upstream.url()], env=dict.fromkeys(names, "http://127.0.0.1:1"))
    [result] = fan_out(program.ask("GET", PATH))["results"]
    assert result["status"] == 200


@pytest.fixture
def https_port(certificate):
    """A small HTTPS server."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"secret")

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as tls_server:
        tls_server.daemon_threads = True
        tls_server.socket = context.wrap_socket(tls_server.socket, server_side=True,
                                                do_handshake_on_connect=False)
        thread = threading.Thread(target=tls_server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield tls_server.server_port
        tls_server.shutdown()
        thread.join()


def test_https_with_a_configured_authority(heddle, via, https_port, certificate):
    program = heddle([f"https://127.0.0.1:{https_port}/"], fetch={"ca_file": os.fspath(certificate[0])})
    [result] = fan_out(via(program).ask("GET", PATH))["results"]
    assert (result.get("status"), result.get("content")) == (200, "secret"), result


def test_https_with_an_unknown_authority_is_a_tls_error(heddle, https_port):
    program = heddle([f"https://127.0.0.1:{https_port}/"])
    [result] = fan_out(program.ask("GET", PATH))["results"]
    assert result["reason"] == "tls"


def test_https_with_the_name_of_another_is_a_tls_error(heddle, https_port, certificate):
    program = heddle([f"https://127.0.0.2:{https_port}/", f"https://localhost:{https_port}/"],
                     fetch={"ca_file": os.fspath(certificate[0])})
    results = by_url(fan_out(program.ask("GET", PATH)))
    assert results[f"https://localhost:{https_port}/"].get("status") == 200
    # Nothing listens at 127.0.0.2; were it reached, the certificate would not fit.
    assert results[f"https://127.0.0.2:{https_port}/"]["reason"] in ("tls", "connect")


HTTP_2_SERVER = """
daemon off; pid nginx.pid; error_log error.log; user root;
events {{}}
http {{
    log_format protocol '$server_protocol'; access_log access.log protocol;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        location / {{ default_type text/plain; return 200 "over HTTP/2"; }}
    }}
}}
"""


def test_http_2_is_spoken_where_it_is_offered(heddle, certificate, tmp_path):
    port = free_port()
    folder = tmp_path / "h2"
    folder.mkdir()
    (folder / "nginx.conf").write_text(
        HTTP_2_SERVER.format(port=port, certificate=certificate[0], key=certificate[1]))
    with Program("nginx", ["nginx", "-p", folder, "-c", "nginx.conf", "-e", "error.log"], folder) as nginx:
        nginx.wait_for_listener(("127.0.0.1", port))
        program = heddle([f"https://127.0.0.1:{port}/{number}" for number in range(6)],
                         fetch={"ca_file": os.fspath(certificate[0]), "workers": 1})
        for _ in range(2):
            results = fan_out(program.ask("GET", PATH))["results"]
            assert [result.get("content") for result in results] == ["over HTTP/2"] * 6, results
        wait_until(lambda: (folder / "access.log").read_text().split() == ["HTTP/2.0"] * 12, "twelve requests")
        # Those that found no connection opened one each; the second time there were enough.
        assert program.metric(metrics.CONNECTIONS, kind="new") <= 6
        assert program.metric(metrics.CONNECTIONS, kind="reused") >= 6


def test_an_origin_that_hangs_in_its_handshake_holds_up_no_other(heddle, https_port, certificate):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        hanging = [f"https://127.0.0.1:{mute.getsockname()[1]}/{number}" for number in range(6)]
        answering = [f"https://127.0.0.1:{https_port}/{number}" for number in range(3)]
        program = heddle(hanging + answering, fetch={"ca_file": os.fspath(certificate[0]), "workers": 1,
                                                     "connect_timeout": "1s", "timeout": "20s"})
        results = by_url(fan_out(program.ask("GET", PATH)))
    assert [results[url].get("content") for url in answering] == ["secret"] * 3, results
    for url in hanging:
        assert (results[url]["reason"], results[url]["error"]) == ("timeout", "not connected after 1000 ms")
        assert results[url]["elapsed"] < 4, "none waits for the others' time-outs"
