-- Prints wrk's figures as JSON, exact where wrk's own text rounds them. A hook for each request or response
-- would slow wrk down: there is none.

-- With an argument, each request posts it.
function init(args)
    if args[1] then
        wrk.method = "POST"
        wrk.body = args[1]
        wrk.headers["Content-Type"] = "application/json"
    end
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{"seconds":%.6f,"completed":%d,"p50_ms":%.3f,"p99_ms":%.3f,' ..
        '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
        summary.duration / 1e6, summary.requests,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
