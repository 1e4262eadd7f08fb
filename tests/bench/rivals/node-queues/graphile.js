// graphile-worker. The pool is as large as its manual's example for many small jobs.
"use strict";
const { Logger, makeWorkerUtils, run } = require("graphile-worker");

const options = { connectionString: process.env.PG_URL, logger: new Logger(() => () => {}), maxPoolSize: 20 };
const ADD_MANY = `select count(*) from graphile_worker.add_jobs(array(
    select json_populate_record(null::graphile_worker.job_spec, spec)
    from json_array_elements($1::json) spec))`;

exports.open = async () => {
    const utils = await makeWorkerUtils(options);
    await utils.migrate();
    return {
        add: (data) => utils.addJob("task", data),
        addMany: (list) => {
            const specs = JSON.stringify(list.map((payload) => ({ identifier: "task", payload })));
            return utils.withPgClient((client) => client.query(ADD_MANY, [specs]));
        },
    };
};

exports.work = async (handler, concurrency) => {
    await run({ ...options, concurrency, noHandleSignals: true, taskList: { task: handler } });
};
