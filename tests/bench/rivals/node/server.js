// The fan-out on Node's http: one process for each core, one shared agent with warm connections.
"use strict";
const cluster = require("node:cluster");
const http = require("node:http");
const os = require("node:os");

const CONTENT_CHARS = 100;
const urls = process.env.URLS.split(" ");
const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 4096, scheduling: "lifo" });

const since = (start) => (performance.now() - start) / 1000;

function fetch(url) {
    const start = performance.now();
    return new Promise((resolve) => {
        const fail = (error) => resolve({ url, error: String(error), elapsed: since(start) });
        http.get(url, { agent, timeout: 10000 }, (response) => {
            const chunks = [];
            response.on("data", (chunk) => chunks.push(chunk));
            response.on("error", fail);
            response.on("end", () => {
                const status = response.statusCode;
                const content = Buffer.concat(chunks).toString().slice(0, CONTENT_CHARS);
                const elapsed = since(start);
                resolve(status < 400 ? { url, status, content, elapsed }
                                     : { url, status, error: `HTTP ${status}`, elapsed });
            });
        }).on("timeout", function () { this.destroy(new Error("timeout")); }).on("error", fail);
    });
}

async function concurrentRequests() {
    const start = performance.now();
    const results = [];
    await Promise.all(urls.map(async (url) => results.push(await fetch(url))));
    return { results, total_time: since(start) };
}

const routes = {
    "/concurrent_requests/": concurrentRequests,
    "/health/live": async () => ({ status: "live" }),
};

async function handle(request, response) {
    const route = routes[request.url];
    response.statusCode = route ? 200 : 404;
    const body = JSON.stringify(route ? await route() : { error: "not found" });
    response.setHeader("Content-Type", "application/json");
    response.setHeader("Content-Length", Buffer.byteLength(body));
    response.end(body);
}

if (cluster.isPrimary) {
    os.cpus().forEach(() => cluster.fork());
} else {
    const server = http.createServer(handle);
    server.keepAliveTimeout = 60000;
    server.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 4096 });
}
