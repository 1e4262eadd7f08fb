// pg-boss. Its own work() rests for at least half a second between batches; this fetches again at once
// while there is something, as its manual's fetch() and complete() allow.
"use strict";
const PgBoss = require("pg-boss");

const BATCH = 1000;
const POLL_MS = 500; // the least that work() may be told

async function start() {
    const boss = new PgBoss({ connectionString: process.env.PG_URL });
    boss.on("error", (error) => console.error(error.message));
    await boss.start();
    await boss.createQueue("bench");
    return boss;
}

exports.open = async () => {
    const boss = await start();
    return {
        add: (data) => boss.send("bench", data),
        addMany: (list) => boss.insert(list.map((data) => ({ name: "bench", data }))),
    };
};

async function loop(boss, handler) {
    for (;;) {
        const jobs = await boss.fetch("bench", { batchSize: BATCH });
        if (jobs.length > 0) {
            await Promise.all(jobs.map((job) => handler(job.data)));
            await boss.complete("bench", jobs.map((job) => job.id));
        } else {
            await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        }
    }
}

exports.work = async (handler) => {
    loop(await start(), handler);
};
