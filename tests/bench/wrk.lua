-- Prints wrk's figures as JSON, exact where wrk's own text rounds them. Only done() is defined: a hook for
-- each request or response would slow wrk down.
function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{"seconds":%.6f,"completed":%d,"p50_ms":%.3f,"p99_ms":%.3f,' ..
        '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
        summary.duration / 1e6, summary.requests,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
