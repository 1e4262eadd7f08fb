"""Peers that do not speak FastCGI as nginx does: their connection ends, the others are served meanwhile."""

import random
import socket
import threading
import time

import pytest

from harness import fastcgi, metrics
from harness.build import SANITIZED
from harness.expect import fan_out
from harness.fastcgi import (
    PARAMS, STDIN, Closed, begin, encode_params, http_request, params_of, record, stream)
from harness.heddle import Heddle
from harness.wait import wait_until

FAN_OUT = "/concurrent_requests/"
SUBMIT = "/start_background_task/"
JSON = {"Content-Type": "application/json"}
GOOD = b'{"message": "m", "duration": 0}'
THREADS = 4
IMPATIENT = {"client_timeout": "300ms", "request_threads": THREADS}

GET = http_request("GET", "/tasks")
POST = http_request("POST", SUBMIT, GOOD, JSON)
PARAMETERS = encode_params(params_of("GET", "/tasks"))


def is_served(program):
    return program.ask("GET", "/health/live").status == 200


def unfinished():
    """Beginnings of requests, after which nothing comes."""
    yield "nothing", b""
    yield "one byte", GET[:1]
    yield "half a header", GET[:5]
    yield "a header alone", GET[:8]
    yield "half a begin", GET[:12]
    yield "a begin", begin()
    yield "half the parameters", GET[:-80]
    yield "parameters without their end", begin() + record(PARAMS, PARAMETERS)
    yield "no body", begin() + stream(PARAMS, PARAMETERS)
    yield "half a body", POST[:-20]
    yield "a body without its end", POST[:-8]
    yield "all but a byte", POST[:-1]
    yield "padding that does not come", GET[:-8] + record(STDIN, padding=200)[:-1]


def malformed():
    """Bytes after which nobody need wait for more; the connection ends, at the latest with the time-out."""
    yield "zeroes", bytes(1000)
    yield "ones", b"\xff" * 1000
    yield "HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20
    yield "TLS", bytes.fromhex("16030100f8010000f40303") + bytes(range(250))
    yield "version 2", GET.replace(b"\x01", b"\x02", 1)
    yield "version 0", b"\0" + GET[1:]
    yield "a type nobody knows first", record(77, b"abc") + b"\xff" * 8
    yield "parameters first", record(PARAMS, PARAMETERS) + record(PARAMS)
    yield "body first", record(STDIN, b"x" * 10)
    yield "id 0", record(fastcgi.BEGIN_REQUEST, bytes([0, 1, 1, 0, 0, 0, 0, 0]), request_id=0)
    yield "a short begin", record(fastcgi.BEGIN_REQUEST, b"\0\1")
    yield "a role nobody plays", begin(role=7) + GET[16:]
    yield "authorizer", begin(role=2) + GET[16:]
    yield "two begins", begin() + begin() + GET[16:]
    yield "another id", begin() + stream(PARAMS, PARAMETERS, request_id=2) + record(STDIN, request_id=2)
    yield "body too early", begin() + record(PARAMS, PARAMETERS) + record(STDIN, b"x") + record(STDIN)
    for name, params in {"name longer than all": b"\xff" * 8 + b"abc",
                         "value longer than the rest": b"\x03\x7fabcdef",
                         "lengths that wrap around": b"\xff\xff\xff\xfe\x80\x00\x00\x04ab",
                         "half a length": b"\x03\x80\x00"}.items():
        yield name, begin() + stream(PARAMS, params) + record(STDIN)
    yield "a question", record(fastcgi.GET_VALUES, encode_params({"FCGI_MAX_CONNS": ""}), request_id=0)
    yield "only an end", record(fastcgi.END_REQUEST, bytes(8))
    yield "an abort of nothing", record(fastcgi.ABORT_REQUEST)
    yield "random bytes", random.Random(1).randbytes(20000)


def named(cases):
    return [pytest.param(data, id=name) for name, data in cases]


@pytest.fixture
def impatient(heddle):
    return heddle(**IMPATIENT)


@pytest.fixture(scope="module")
def impatient_server(tmp_path_factory):
    with Heddle(tmp_path_factory.mktemp("impatient"), **IMPATIENT) as program:
        yield program
        assert is_served(program)


def send_what_is_taken(connection, data):
    try:
        connection.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


@pytest.mark.parametrize("data", named(unfinished()))
def test_a_peer_that_stops_in_the_middle_is_closed(impatient_server, data):
    with impatient_server.connect() as connection:
        connection.send(data)
        assert is_served(impatient_server), "while the peer is silent"
        assert connection.at_end()


@pytest.mark.parametrize("data", named(malformed()))
def test_a_peer_that_does_not_speak_fastcgi_is_closed(impatient_server, data):
    with impatient_server.connect() as connection:
        send_what_is_taken(connection, data)
        assert is_served(impatient_server)
        assert b"Status: 2" not in connection.read_to_end()
    assert is_served(impatient_server)


def test_the_default_time_out_is_five_seconds(heddle):
    program = heddle()
    with program.connect() as silent, program.connect() as half:
        half.send(GET[:20])
        assert half.at_end() and silent.at_end()
    assert is_served(program)


@pytest.mark.parametrize("data", [b"", begin(), POST[:-5], b"\xff" * 100, GET[:3]], ids=repr)
def test_many_more_bad_peers_than_threads_hold_nobody_up(heddle, data):
    program = heddle(client_timeout="10s", request_threads=THREADS)
    peers = [program.connect() for _ in range(3 * THREADS)]
    for peer in peers:
        send_what_is_taken(peer, data)
    for _ in range(20):
        assert is_served(program)
    assert sum(peer.socket.fileno() >= 0 for peer in peers) == 12
    for peer in peers:
        peer.close()
    assert is_served(program)


def dribble(connection, data, size):
    for at in range(0, len(data), size):
        connection.send(data[at:at + size])


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 100])
def test_a_request_in_small_pieces_is_served(server, size):
    with server.connect() as connection:
        dribble(connection, POST, size)
        assert connection.read_reply().status == 202
        dribble(connection, GET, size)
        assert connection.read_reply().status == 200


def test_a_slow_request_has_the_time_out_as_a_whole(heddle):
    """A peer that sends a byte now and then must not hold its place for ever."""
    program = heddle(**IMPATIENT)
    with program.connect() as connection:
        def ended():
            try:
                connection.send(b"\x01" if ended.sent == 0 else b"\0")
                ended.sent += 1
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False
        ended.sent = 0
        connection.send(GET[:24])
        wait_until(lambda: ended(), "the slow peer is closed")
    assert is_served(program)


@pytest.mark.parametrize("shape", [
    {"piece": 1}, {"piece": 7, "padding": 3}, {"padding": 255}, {"piece": 1000, "padding": 7}], ids=repr)
def test_records_of_any_size_and_padding_are_understood(server, shape):
    with server.connect() as connection:
        for _ in range(3):
            assert connection.ask("POST", SUBMIT, GOOD, JSON, **shape).status == 202


def test_long_lengths_for_short_names_are_understood(server):
    encoded = encode_params(params_of("GET", "/tasks?limit=1"), long_form=True)
    with server.connect() as connection:
        connection.send(begin() + stream(PARAMS, encoded) + record(STDIN))
        assert connection.read_reply().status == 200


def test_empty_names_values_and_repeated_parameters_do_no_harm(server):
    encoded = encode_params({"": "", "X": ""}) * 20 + encode_params(params_of("GET", "/tasks")) * 2
    with server.connect() as connection:
        connection.send(begin() + stream(PARAMS, encoded) + record(STDIN))
        assert connection.read_reply().status in (200, 400)


@pytest.mark.parametrize("request_id", [1, 2, 255, 256, 65535])
def test_the_answer_has_the_id_of_the_request(server, request_id):
    with server.connect() as connection:
        connection.send(fastcgi.request(params_of("GET", "/tasks"), request_id=request_id))
        assert connection.read_reply(request_id).status == 200


def test_a_kept_connection_serves_many_requests(server):
    with server.connect() as connection:
        for number in range(50):
            status, target = ((200, "/tasks"), (404, "/nope"), (200, FAN_OUT))[number % 3]
            assert connection.ask("GET", target).status == status


def test_an_idle_kept_connection_outlives_the_time_out(impatient_server):
    with impatient_server.connect() as kept:
        assert kept.ask("GET", "/tasks").status == 200
        for _ in range(3):  # each of these peers lives for one time-out
            with impatient_server.connect() as other:
                other.send(GET[:9])
                assert other.at_end()
        assert kept.ask("GET", "/tasks").status == 200


def test_idle_connections_cost_no_thread(heddle):
    program = heddle(request_threads=THREADS)
    assert is_served(program)
    threads = program.thread_count()
    kept = [program.connect() for _ in range(500)]
    for connection in kept:
        assert connection.ask("GET", "/health/live").status == 200
    assert program.thread_count() == threads
    for connection in reversed(kept):
        assert connection.ask("GET", "/tasks").status == 200
        connection.close()


def test_a_connection_not_to_be_kept_is_closed_after_the_answer(server):
    with server.connect() as connection:
        assert connection.ask("GET", "/tasks", keep=False).status == 200
        assert connection.at_end()


def test_two_requests_at_once_are_answered_one_after_the_other(server):
    with server.connect() as connection:
        connection.send(http_request("GET", FAN_OUT) + http_request("GET", "/nope") + POST)
        fan_out(connection.read_reply())
        assert connection.read_reply().status == 404
        assert connection.read_reply().status == 202


def test_half_of_a_second_request_is_kept_until_the_rest_comes(server):
    with server.connect() as connection:
        connection.send(GET + POST[:30])
        assert connection.read_reply().status == 200
        connection.send(POST[30:])
        assert connection.read_reply().status == 202


def test_half_of_a_second_request_ends_with_the_time_out(impatient_server):
    with impatient_server.connect() as connection:
        connection.send(GET + POST[:30])
        assert connection.read_reply().status == 200
        assert connection.at_end()


def test_a_hundred_requests_at_once_are_all_answered(server):
    with server.connect() as connection:
        sender = threading.Thread(target=connection.send, args=(GET * 100,))
        sender.start()
        assert [connection.read_reply().status for _ in range(100)] == [200] * 100
        sender.join()


def test_an_abort_of_the_peer_ends_the_request_or_is_ignored(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(delay=500)])
    with program.connect() as connection:
        connection.send(http_request("GET", FAN_OUT))
        connection.send(record(fastcgi.ABORT_REQUEST))
        try:
            connection.read_reply()
        except Closed:
            pass
    assert is_served(program)


@pytest.mark.parametrize("count", [1, 3 * THREADS])
def test_a_hundred_megabytes_of_parameters_are_not_read(heddle, count):
    program = heddle(**IMPATIENT)
    before = program.status_kib("VmRSS")

    def flood():
        piece = record(PARAMS, encode_params({"X" * 100: "y" * 60000})[:60000])
        with program.connect() as connection:
            send_what_is_taken(connection, begin() + piece)
            try:
                for _ in range(100_000_000 // len(piece)):
                    connection.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                return
            assert connection.at_end()
    floods = [threading.Thread(target=flood) for _ in range(count)]
    for thread in floods:
        thread.start()
    for _ in range(10):
        assert is_served(program)
    for thread in floods:
        thread.join()
    assert is_served(program)
    if not SANITIZED:
        assert program.status_kib("VmHWM") - before < 64 * 1024


@pytest.mark.parametrize("data", [b"", GET[:20], GET, POST + GET[:9], http_request("GET", FAN_OUT)],
                         ids=["nothing", "half", "one", "one and a half", "fan-out"])
def test_a_peer_that_closes_its_sending_side_gets_an_answer_or_the_end(server, data):
    with server.connect() as connection:
        connection.send(data)
        connection.socket.shutdown(socket.SHUT_WR)
        connection.read_to_end()
    assert is_served(server)


def test_many_small_parameters_are_limited_too(server):
    params = {f"HTTP_X_{number}": "x" for number in range(20_000)}
    with server.connect() as connection:
        send_what_is_taken(connection, fastcgi.request(params_of("GET", "/tasks") | params))
        assert connection.at_end()
    assert is_served(server)


@pytest.mark.parametrize("moment", ["at once", "in mid answer"])
def test_a_peer_that_leaves_does_not_disturb_the_others(heddle, upstream, moment):
    program = heddle([upstream.url(f"/{number}", size=100_000) for number in range(20)],
                     concurrent_requests={"content_chars": 100_000})
    for _ in range(10):
        with program.connect() as connection:
            connection.send(http_request("GET", FAN_OUT))
            if moment == "in mid answer":
                connection.read_record()
    assert is_served(program)
    wait_until(lambda: program.metric(metrics.IN_FLIGHT) <= 1, "nothing in flight but the scrape")


@pytest.fixture
def big_answers(heddle, upstream):
    """Starts a heddle whose fan-outs answer 4 MB, more than a socket takes at once."""
    def start(**settings):
        return heddle([upstream.url(f"/{number}", size=200_000) for number in range(20)],
                      concurrent_requests={"content_chars": 200_000}, request_threads=THREADS, **settings)
    return start


def ask_without_reading(program, count):
    peers = [program.connect() for _ in range(count)]
    for peer in peers:
        peer.send(http_request("GET", FAN_OUT))
    return peers


def test_peers_that_do_not_read_their_answers_hold_nobody_up(big_answers):
    program = big_answers(client_timeout="60s")
    peers = ask_without_reading(program, 3 * THREADS)
    for peer in peers:
        peer.socket.recv(1, socket.MSG_PEEK)  # its answer has begun
    assert is_served(program)
    for peer in peers:
        assert fan_out(peer.read_reply())["results"], "late, but all of it"
        peer.close()


def test_peers_that_do_not_read_their_answers_are_given_up(big_answers):
    program = big_answers(client_timeout="600ms")
    peers = ask_without_reading(program, 3 * THREADS)
    wait_until(lambda: program.metric("heddle_connections_closed_total", reason="timeout") == 3 * THREADS,
               "they are closed")
    for peer in peers:
        with pytest.raises(Closed):
            peer.read_reply()
        peer.close()
    assert program.metric(metrics.IN_FLIGHT) <= 1


def test_peers_that_do_not_read_their_answers_do_not_hold_up_the_end(big_answers):
    program = big_answers(client_timeout="60s", shutdown_timeout="300ms")
    peers = ask_without_reading(program, 3 * THREADS)
    for peer in peers:
        peer.socket.recv(1, socket.MSG_PEEK)
    program.stop()
    for peer in peers:
        peer.close()


def test_large_answers_of_what_the_end_cut_off_do_not_hold_it_up(heddle, upstream):
    program = heddle([upstream.url(f"/{number}/" + "x" * 1000, stall=1) for number in range(600)],
                     request_threads=THREADS, client_timeout="60s", shutdown_timeout="300ms")
    with program.connect() as peer:
        peer.send(http_request("GET", FAN_OUT))
        wait_until(lambda: program.metric("heddle_fetches_in_flight") == 600, "all are in flight")
        program.stop()
        assert "did not end" not in program.log()


def test_a_peer_that_never_stops_sending_is_closed_in_time_and_holds_nobody_up(heddle):
    program = heddle(client_timeout="1s", request_threads=1)
    rest = b"".join(record(STDIN, bytes(60_000)) for _ in range(100))

    def flood(peer):
        try:
            while True:
                peer.socket.sendall(rest)
        except OSError:
            pass

    peers = [program.connect() for _ in range(3)]
    floods = [threading.Thread(target=flood, args=[peer]) for peer in peers]
    for peer, thread in zip(peers, floods):
        peer.send(begin() + stream(PARAMS, encode_params(params_of("POST", SUBMIT, b"", JSON))))
        thread.start()
    for _ in range(20):
        assert is_served(program)
    for thread in floods:
        thread.join()
    assert program.metric("heddle_connections_closed_total", reason="timeout") == 3
    for peer in peers:
        peer.close()


def test_peers_that_send_many_requests_and_read_nothing_hold_nobody_up(heddle):
    program = heddle(client_timeout="60s", request_threads=THREADS)
    peers = [program.connect() for _ in range(3 * THREADS)]
    for peer in peers:  # their answers are small, but together they are more than a socket takes
        send_what_is_taken(peer, http_request("GET", "/metrics") * 400)
    assert is_served(program)
    program.stop()
    for peer in peers:
        peer.close()


def test_a_slow_reader_gets_all_of_a_big_answer(heddle, via, upstream):
    program = heddle([upstream.url(f"/{number}", size=200_000) for number in range(20)],
                     concurrent_requests={"content_chars": 200_000})
    body = fan_out(via(program).ask("GET", FAN_OUT))
    assert [len(result["content"]) for result in body["results"]] == [200_000] * 20


def test_a_peer_that_reads_a_little_at_a_time_is_not_given_up(big_answers):
    program = big_answers(client_timeout="600ms")
    with program.connect() as peer:
        peer.send(http_request("GET", FAN_OUT))
        slowly = 0
        while slowly < 400_000:  # more than a socket holds
            piece = peer.socket.recv(4096)
            assert piece, f"closed after {slowly} bytes"
            slowly += len(piece)
            time.sleep(0.045)  # 90 KB/s
        peer.socket.shutdown(socket.SHUT_WR)
        rest = peer.socket.makefile("rb").read()
    assert slowly + len(rest) > 4_000_000


def test_random_changes_to_requests_never_bring_it_down(impatient_server):
    randomness = random.Random(7)
    for _ in range(300):
        data = bytearray(randomness.choice([GET, POST]))
        for _ in range(randomness.randint(1, 6)):
            data[randomness.randrange(len(data))] = randomness.randrange(256)
        with impatient_server.connect() as connection:
            send_what_is_taken(connection, data[:randomness.randint(1, len(data))])
    assert is_served(impatient_server)


def test_peers_that_come_and_go_leave_nothing_behind(heddle):
    program = heddle(**IMPATIENT)
    is_served(program)
    before = program.metric("process_open_fds")
    for _ in range(300):
        with program.connect() as connection:
            connection.send(GET[:10])
    wait_until(lambda: program.metric("process_open_fds") <= before, "as many descriptors as before")
