// BullMQ. Its manual asks for maxmemory-policy noeviction and an append-only file: see
// tasks/rivals.py.
"use strict";
const { Queue, Worker } = require("bullmq");

const connection = { host: "127.0.0.1", port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };

exports.open = async () => {
    const queue = new Queue("bench", { connection });
    await queue.waitUntilReady();
    return {
        add: (data) => queue.add("task", data),
        addMany: (list) => queue.addBulk(list.map((data) => ({ name: "task", data }))),
    };
};

exports.work = async (handler, concurrency) => {
    const worker = new Worker("bench", (job) => handler(job.data), { connection, concurrency });
    worker.on("error", (error) => console.error(error.message));
    await worker.waitUntilReady();
};
