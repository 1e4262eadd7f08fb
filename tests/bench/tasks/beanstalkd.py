"""beanstalkd -f0: its log is synced at each put. It is asked in its own protocol, many commands at once
where a workload speaks of batches."""

import time

from client import Client, at_once, percentile
from processes import BenchError, free_port
from tasks.heddle import BATCH

BODY = b'{"message":"x","duration":0}'
PUT = b"put 0 0 3600 %d\r\n%s\r\n" % (len(BODY), BODY)
DRAINED = 20_000
CHUNK = 100  # jobs that a worker takes at once


class Connection(Client):
    def line(self):
        while b"\r\n" not in self.buffer:
            self.buffer += self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def expect(self, word):
        line = self.line()
        if not line.startswith(word):
            raise BenchError(f"beanstalkd says {line!r}, not {word!r}")
        return line

    def put(self, count):
        self.send(PUT * count)
        for _ in range(count):
            self.expect(b"INSERTED")

    def reserve(self, count):
        """The ids of so many jobs; waits for them."""
        self.send(b"reserve\r\n" * count)
        return [self.reserved() for _ in range(count)]

    def reserved(self):
        job = self.expect(b"RESERVED").split()[1]
        self.line()
        return job

    def delete(self, jobs):
        self.send(b"".join(b"delete %s\r\n" % job for job in jobs))
        for _ in jobs:
            self.expect(b"DELETED")


class Server:
    def __init__(self, bench):
        self.bench, self.port, self.data = bench, free_port(), bench.fresh_data("beanstalkd")
        self.start()

    def start(self):
        argv = ["beanstalkd", "-l", "127.0.0.1", "-p", self.port, "-b", self.data, "-f0"]
        self.process = self.bench.processes.start("beanstalkd", argv)
        self.bench.processes.wait_for_listener(self.process, ("127.0.0.1", self.port))

    def connect(self):
        return Connection(self.port)

    def put_batches(self, count, clients):
        rounds = max(1, round(count / BATCH / clients))

        def client_main(_):
            with self.connect() as client:
                for _ in range(rounds):
                    client.put(BATCH)

        return at_once(clients, client_main), rounds * clients * BATCH


def batches(clients):
    def measure(bench, scale):
        seconds, count = Server(bench).put_batches(scale.count(DRAINED), clients)
        return {"tasks/s": count / seconds}
    return measure


def submit_to_end(bench, scale):
    server = Server(bench)
    count = max(1, round(scale.count(DRAINED) / BATCH)) * BATCH

    def work():
        with server.connect() as worker:
            for _ in range(count // CHUNK):
                worker.delete(worker.reserve(CHUNK))

    start = time.monotonic()
    at_once(2, lambda number: work() if number else server.put_batches(count, 1))
    return {"tasks/s": count / (time.monotonic() - start), "tasks": count}


def idle_start(bench, scale):
    """From sending the put to the job in a worker that waits for it; one thread does both."""
    server, took = Server(bench), []
    with server.connect() as client, server.connect() as worker:
        for _ in range(scale.count(1000)):
            worker.send(b"reserve\r\n")
            start = time.monotonic()
            client.send(PUT)
            job = worker.reserved()
            took.append(1000 * (time.monotonic() - start))
            client.expect(b"INSERTED")
            worker.delete([job])
            time.sleep(scale.gap)
    return {"p50 ms": percentile(took, 50), "p99 ms": percentile(took, 99)}


def after_kill(bench, scale):
    server = Server(bench)
    count = scale.count(1000)
    with server.connect() as client, server.connect() as worker:
        client.put(count)
        worker.reserve(count)
        bench.processes.kill(server.process)
    start = time.monotonic()
    server.start()
    with server.connect() as worker:
        worker.reserve(count)
    return {"seconds": time.monotonic() - start, "tasks": count}


MEASURES = {"T3": batches(1), "T3b": batches(4), "T4": submit_to_end, "T5": idle_start, "T6": after_kill}
