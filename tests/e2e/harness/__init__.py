"""What the end-to-end and fault tests are made of: programs, clients and readings.

    build.py     which programs are tested, and how they were built
    wait.py      the one place that waits
    programs.py  a started program: its log, its end, its sanitizer reports
    heddle.py    the program under test, with a configuration of its own
    nginx.py     nginx in front of it, from the configuration that `make run` uses
    mock.py      the upstream that answers as the query string asks
    endpoints.py upstreams and endpoints: configurations, answers, what heddle shows of them
    tls.py       certificates, and nginx as an upstream that speaks TLS
    names.py     names that mean what the test says
    black_hole.py  an address that swallows connections
    smtp.py      a mail server that answers as the test says
    fastcgi.py   a FastCGI client that can also misbehave
    backend.py   a FastCGI server that stands in for heddle, to look at nginx
    reply.py     an HTTP answer, however it came
    expect.py    what several tests expect of an answer
    metrics.py   readings of GET /metrics, and the names the tests expect there
"""
