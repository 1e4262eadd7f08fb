/* `heddle tasks`: its arguments, its output, and the store of a server that is stopped. */
#include "harness.h"

#include "cli/args.h"
#include "cli/pretty.h"
#include "cli/source.h"
#include "cli/table.h"
#include "tasks/ledger.h"
#include "tasks/upkeep.h"

#define ID "01890000-0000-7000-8000-000000000000"

/* ---- arguments ---- */

static int parse(struct cli_args *ret, struct err *err, const char *a, const char *b, const char *c,
                 const char *d)
{
    static char texts[5][300];
    const char *const given[] = {"tasks", a, b, c, d};
    char *argv[ARRAY_LEN(given) + 1] = {NULL};
    int argc = 0;

    for (size_t i = 0; i < ARRAY_LEN(given) && given[i]; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%s", given[i]);
        argv[argc++] = texts[i];
    }
    return cli_args_parse(argc, argv, ret, err);
}

static void options_may_stand_anywhere(void **state)
{
    struct cli_args args;
    struct err err;

    (void)state;
    assert_int_equal(parse(&args, &err, "list", NULL, NULL, NULL), 0);
    assert_int_equal(args.verb, CLI_LIST);
    assert_string_equal(args.config_path, "conf/heddle.yaml");
    assert_int_equal(args.limit, 50);
    assert_null(args.filter.state);
    assert_int_equal(parse(&args, &err, "-cx", "cancel", "--json", ID), 0);
    assert_string_equal(args.config_path, "x");
    assert_true(args.is_json);
    assert_int_equal(args.id_count, 1);
    assert_int_equal(parse(&args, &err, "--limit=7", "list", "--state", "dead"), 0);
    assert_int_equal(args.limit, 7);
    assert_string_equal(args.filter.state, "dead");
}

static void ages_are_durations_or_days(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
        int rc;
    } rows[] = {
        {"7d", 7 * UINT64_C(86400000), 0},
        {"0d", 0, 0},
        {"36500d", 36500 * UINT64_C(86400000), 0},
        {"90s", 90000, 0},
        {"36501d", 0, -EINVAL},
        {"d", 0, -EINVAL},
        {"7", 0, -EINVAL},
        {"-7d", 0, -EINVAL},
        {"1.5d", 0, -EINVAL},
        {"99999999999999999999d", 0, -EINVAL},
    };
    struct cli_args args;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char option[64];
        snprintf(option, sizeof(option), "--older-than=%s", rows[i].text);
        assert_int_equal(parse(&args, &err, "purge", "--state=dead", option, NULL), rows[i].rc);
        if (rows[i].rc == 0)
            assert_int_equal(args.older_than_ms, rows[i].ms);
    }
}

/* ---- output ---- */

static void check_pretty(const char *json, const char *expected)
{
    struct buf out = BUF_INIT(4096);

    json_append_pretty(&out, json, strlen(json));
    assert_false(out.failed);
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.data, expected, out.size);
    buf_done(&out);
}

static void json_is_indented_and_otherwise_left_as_it_is(void **state)
{
    (void)state;
    check_pretty("1.50", "1.50");
    check_pretty("{}", "{}");
    check_pretty(" [ ] ", "[]");
    check_pretty("{\"a\":[1,{\"b\":{}}],\"c\":\"x,{:\\\"]\\\\\"}",
                 "{\n  \"a\": [\n    1,\n    {\n      \"b\": {}\n    }\n  ],\n  \"c\": \"x,{:\\\"]\\\\\"\n}");
    /* What is no JSON does no harm. */
    check_pretty("\"ab", "\"ab");
    check_pretty("\"ab\\", "\"ab\\");
    check_pretty("]]", "]]");
}

static void check_cell(const char *text, size_t max_chars, const char *expected)
{
    char cell[TABLE_CELL_SIZE];

    table_set_cell(cell, text, max_chars);
    assert_string_equal(cell, expected);
}

static void a_cell_is_cut_and_harmless(void **state)
{
    char text[1000];
    char cell[TABLE_CELL_SIZE];

    (void)state;
    check_cell("", 5, "");
    check_cell("abcde", 5, "abcde");
    check_cell("abcdef", 5, "abcde...");
    check_cell("äöüäöü", 5, "äöüäö...");
    check_cell("a\x1b[31m\n\x7f\xc2\x9b"
               "b\xff",
               60, "a [31m   b ");
    for (size_t size = 240; size < 270; size++) {
        memset(text, 'x', size);
        text[size] = '\0';
        table_set_cell(cell, text, SIZE_MAX);
        assert_true(strlen(cell) < sizeof(cell));
        assert_int_equal(strcmp(cell, text) == 0, size <= TABLE_CELL_SIZE - sizeof("..."));
    }
}

/* ---- the store of a server that is stopped ---- */

struct place {
    char directory[64];
    char where[96];
    struct config *config;
};

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    struct config_errors errors = CONFIG_ERRORS_INIT;

    assert_non_null(place);
    snprintf(place->directory, sizeof(place->directory), "/tmp/heddle-cli-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->where, sizeof(place->where), "%s/tasks.db", place->directory);
    assert_int_equal(config_parse("test", "", 0, &place->config, &errors), 0);
    config_errors_done(&errors);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm", ".lock", ".reserve"};
    struct place *place = *state;

    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", place->where, endings[i]);
        unlink(path);
    }
    rmdir(place->directory);
    config_free(place->config);
    free(place);
    return 0;
}

/* Makes the store with one task in that state, which must not be final; returns its id. */
static struct uuid make_store(const struct place *place, enum task_state task_state)
{
    const struct task_store_ops *ops = &task_store_sqlite;
    struct task_spec spec = {.kind_name = "sleep", .payload = "{}", .max_attempts = 5};
    struct task_queue_row queue = {.name = "default"};
    struct task_store *store;
    struct uuid id;
    struct err err;

    assert_int_equal(ops->open(place->where, &store, &err), 0);
    assert_int_equal(uuid_create(&id), 0);
    struct task *task = task_create(&id, &spec, 1);
    assert_non_null(task);
    task->status = (struct task_status){.state = task_state, .version = 1};
    if (task_state == TASK_STATE_RUNNING)
        task->status.run = task->status.attempts = 1;
    assert_int_equal(ops->begin(store, &err), 0);
    assert_int_equal(ops->add_queue(store, &queue, &err), 0);
    assert_int_equal(ops->insert(store, task, &err), 0);
    assert_int_equal(ops->commit(store, &err), 0);
    task_unref(task);
    ops->close(store);
    return id;
}

static struct task_upkeep *open_upkeep(const struct place *place)
{
    struct task_upkeep *upkeep;
    struct err err;

    assert_int_equal(
        task_upkeep_open(place->config, &task_store_sqlite, place->where, task_kinds, &upkeep, &err), 0);
    return upkeep;
}

static struct task_wish wish_for(struct task_upkeep *upkeep, enum task_wish_type type, struct uuid id)
{
    struct task_wish wish = {.type = type, .id = id, .if_version = TASK_VERSION_ANY};
    struct err err;

    assert_int_equal(task_upkeep_wish(upkeep, &wish, 1, &err), 0);
    task_unref(wish.task);
    return wish;
}

static void no_store_is_made(void **state)
{
    struct place *place = *state;
    struct task_upkeep *upkeep;
    struct err err;

    assert_int_equal(
        task_upkeep_open(place->config, &task_store_sqlite, place->where, task_kinds, &upkeep, &err),
        -ENOENT);
    assert_int_not_equal(access(place->where, F_OK), 0);
}

static void a_store_has_one_owner(void **state)
{
    struct place *place = *state;
    struct task_upkeep *other;
    struct err err;
    char pid[32];

    make_store(place, TASK_STATE_QUEUED);
    struct task_upkeep *upkeep = open_upkeep(place);
    assert_int_equal(
        task_upkeep_open(place->config, &task_store_sqlite, place->where, task_kinds, &other, &err), -EBUSY);
    snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    assert_non_null(strstr(err.text, pid));
    task_upkeep_close(upkeep);
}

static void what_waits_is_cancelled_tried_again_and_removed(void **state)
{
    struct place *place = *state;
    struct uuid id = make_store(place, TASK_STATE_QUEUED);
    struct task_upkeep *upkeep = open_upkeep(place);

    assert_int_equal(wish_for(upkeep, TASK_WISH_REMOVE, id).rc, -EBUSY);
    assert_int_equal(wish_for(upkeep, TASK_WISH_CANCEL, id).status.state, TASK_STATE_CANCELLED);
    assert_int_equal(wish_for(upkeep, TASK_WISH_CANCEL, id).rc, -EBUSY);
    assert_int_equal(wish_for(upkeep, TASK_WISH_RETRY, id).status.state, TASK_STATE_QUEUED);
    assert_int_equal(wish_for(upkeep, TASK_WISH_CANCEL, id).rc, 0);
    assert_int_equal(task_upkeep_counts(upkeep)->by_state[TASK_STATE_CANCELLED], 1);
    assert_int_equal(wish_for(upkeep, TASK_WISH_REMOVE, id).rc, 0);
    assert_int_equal(wish_for(upkeep, TASK_WISH_REMOVE, id).rc, -ENOENT);
    assert_int_equal(task_upkeep_counts(upkeep)->by_state[TASK_STATE_CANCELLED], 0);
    task_upkeep_close(upkeep);
}

static void what_a_crash_has_left_running_is_left_but_may_be_told_to_end(void **state)
{
    struct place *place = *state;
    struct uuid id = make_store(place, TASK_STATE_RUNNING);
    struct task *task;
    struct err err;

    for (unsigned i = 0; i < 3; i++) {
        struct task_upkeep *upkeep = open_upkeep(place);
        assert_int_equal(task_upkeep_get(upkeep, &id, &task, &err), 1);
        assert_int_equal(task->status.state, TASK_STATE_RUNNING);
        assert_int_equal(task->status.interruptions, 0);
        assert_int_equal(task->status.is_cancelled, i > 0);
        task_unref(task);
        assert_int_equal(wish_for(upkeep, TASK_WISH_RETRY, id).rc, -EBUSY);
        assert_int_equal(wish_for(upkeep, TASK_WISH_CANCEL, id).status.state, TASK_STATE_RUNNING);
        task_upkeep_close(upkeep);
    }
    /* The next server's ledger recovers. */
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    struct ledger_config config = {
        .config = place->config, .ops = &task_store_sqlite, .where = place->where, .kinds = task_kinds};
    assert_non_null(ledger);
    assert_int_equal(ledger_open(ledger, &config, &err), 0);
    assert_int_equal(ledger->totals.by_state[TASK_STATE_CANCELLED], 1);
    ledger_close(ledger);
    free(ledger);
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_may_stand_anywhere),
        cmocka_unit_test(ages_are_durations_or_days),
        cmocka_unit_test(json_is_indented_and_otherwise_left_as_it_is),
        cmocka_unit_test(a_cell_is_cut_and_harmless),
        IN_PLACE(no_store_is_made),
        IN_PLACE(a_store_has_one_owner),
        IN_PLACE(what_waits_is_cancelled_tried_again_and_removed),
        IN_PLACE(what_a_crash_has_left_running_is_left_but_may_be_told_to_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
