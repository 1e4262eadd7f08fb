// Drives one rival: node driver.js RIVAL COMMAND [ARGUMENT..]; prints its figures as a line of JSON. The
// workers are a process of their own (but in `latency`), so that they and who submits have a core each.
"use strict";
const { fork } = require("node:child_process");

const [rivalName, command, ...rest] = process.argv.slice(2);
const rival = require(`./${rivalName}.js`);
const numbers = rest.map(Number);

const CONCURRENCY = 20;
const payload = () => ({ message: "x", duration: 0 });
const now = () => Number(process.hrtime.bigint()) / 1e6;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const print = (figures) => console.log(JSON.stringify(figures));

function worker(...args) {
    const child = fork(__filename, [rivalName, ...args.map(String)]);
    const heard = (word) => new Promise((resolve) => {
        child.on("message", (said) => said === word && resolve());
    });
    return { child, ready: heard("ready"), done: heard("done") };
}

async function addBatches(queue, count, size, clients) {
    const list = Array.from({ length: size }, payload);
    let left = Math.ceil(count / size);
    const client = async () => {
        while (left-- > 0)
            await queue.addMany(list);
    };
    await Promise.all(Array.from({ length: clients }, client));
    return Math.ceil(count / size) * size;
}

const commands = {
    // Answers POST /tasks; see `work` for who does them.
    async serve(port) {
        const queue = await rival.open();
        const app = require("fastify")();
        app.post("/tasks", async (request, reply) => {
            const job = await queue.add(request.body);
            return reply.code(202).send({ id: job.id ?? job });
        });
        await app.listen({ port, host: "127.0.0.1", backlog: 4096 });
    },

    // Does tasks, and says so to a parent after `count` of them.
    async work(count = Infinity) {
        let left = count;
        await rival.work(async () => {
            if (--left === 0)
                process.send("done");
        }, CONCURRENCY);
        process.send?.("ready");
    },

    // Starts tasks that do not end.
    async hold(count) {
        let left = count;
        await rival.work(() => {
            if (--left === 0)
                process.send("done");
            return new Promise(() => {});
        }, count);
        process.send("ready");
    },

    async batches(count, size, clients) {
        const queue = await rival.open();
        const start = now();
        const added = await addBatches(queue, count, size, clients);
        print({ "tasks/s": 1000 * added / (now() - start) });
    },

    async drain(count, size) {
        const queue = await rival.open();
        const tasks = Math.ceil(count / size) * size;
        const { ready, done } = worker("work", tasks);
        await ready;
        const start = now();
        await addBatches(queue, count, size, 1);
        await done;
        print({ "tasks/s": 1000 * tasks / (now() - start), tasks });
    },

    async latency(count, gapMs) {
        const queue = await rival.open();
        let started;
        await rival.work(async () => started(now()), 1);
        await sleep(1000);
        const took = [];
        for (let i = 0; i < count; i++) {
            const start = now();
            const begun = new Promise((resolve) => { started = resolve; });
            await queue.add(payload());
            took.push(await begun - start);
            await sleep(gapMs);
        }
        took.sort((a, b) => a - b);
        const percentile = (p) => took[Math.ceil(took.length * p / 100) - 1];
        print({ "p50 ms": percentile(50), "p99 ms": percentile(99) });
    },

    async restart(count, patience) {
        const queue = await rival.open();
        const first = worker("hold", count);
        await first.ready;
        await addBatches(queue, count, count, 1);
        await first.done;
        first.child.kill("SIGKILL");
        await new Promise((resolve) => first.child.on("exit", resolve));
        const start = now();
        const second = worker("hold", count);
        const inTime = await Promise.race([second.done.then(() => true), sleep(1000 * patience)]);
        print({ seconds: inTime ? (now() - start) / 1000 : null, tasks: count });
    },
};

commands[command](...numbers).then(() => {
    if (!["serve", "work", "hold"].includes(command))
        process.exit(0); // the connections would keep it
}, (error) => {
    console.error(error);
    process.exit(1);
});
process.on("disconnect", () => process.exit(0));
