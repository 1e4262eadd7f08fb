/* Names to addresses on threads of their own. */
#include "fake_names.h"

#include "base/log.h"
#include "fetch/resolver.h"

struct question {
    struct resolver_query query;
    atomic_uint done;
};

static void on_done(struct resolver_query *query)
{
    atomic_fetch_add(&container_of(query, struct question, query)->done, 1);
}

static struct question question_of(const char *host)
{
    return (struct question){.query = {.host = host, .done = on_done}};
}

static struct resolver *start_resolver(unsigned threads)
{
    struct resolver *resolver;
    struct err err = {0};

    names_open(false);
    atomic_store(&names_asked, 0);
    atomic_store(&names_held, 0);
    if (resolver_create(threads, &resolver, &err) < 0)
        fail_msg("%s", err.text);
    return resolver;
}

static void a_name_becomes_its_addresses(void **state)
{
    struct resolver *resolver = start_resolver(2);
    struct question question = question_of("once.test");
    struct question local = question_of("localhost");
    (void)state;

    resolver_ask(resolver, &question.query);
    resolver_ask(resolver, &local.query);
    wait_for_count(&question.done, 1);
    wait_for_count(&local.done, 1);
    assert_string_equal(question.query.addresses, "127.0.0.1");
    assert_int_equal(question.query.gai_error, 0);
    assert_true(local.query.addresses[0] != '\0');
    assert_true(strstr(local.query.addresses, "127.0.0.1") || strstr(local.query.addresses, "::1"));
    resolver_free(resolver);
}

static void an_unknown_name_is_an_error(void **state)
{
    struct resolver *resolver = start_resolver(1);
    struct question question = question_of("gone.test");
    (void)state;

    resolver_ask(resolver, &question.query);
    wait_for_count(&question.done, 1);
    assert_string_equal(question.query.addresses, "");
    assert_int_equal(question.query.gai_error, EAI_NONAME);
    resolver_free(resolver);
}

static void a_slow_name_holds_up_only_its_thread(void **state)
{
    struct resolver *resolver = start_resolver(2);
    struct question slow = question_of("slow.test");
    struct question other = question_of("other.test");
    (void)state;

    resolver_ask(resolver, &slow.query);
    wait_for_count(&names_held, 1);
    resolver_ask(resolver, &other.query);
    wait_for_count(&other.done, 1);
    assert_int_equal(atomic_load(&slow.done), 0);
    names_open(true);
    wait_for_count(&slow.done, 1);
    assert_string_equal(slow.query.addresses, "127.0.0.1");
    resolver_free(resolver);
}

static void queries_for_one_host_share_a_look_up(void **state)
{
    struct resolver *resolver = start_resolver(4);
    struct question slow[8];
    struct question other = question_of("other.test");
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        slow[i] = question_of("slow.test");
        resolver_ask(resolver, &slow[i].query);
    }
    wait_for_count(&names_held, 1);
    resolver_ask(resolver, &other.query); /* finds a thread */
    wait_for_count(&other.done, 1);
    names_open(true);
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        wait_for_count(&slow[i].done, 1);
        assert_string_equal(slow[i].query.addresses, "127.0.0.1");
    }
    assert_int_equal(atomic_load(&names_asked), 2);
    resolver_free(resolver);
}

static void a_query_may_be_asked_again(void **state)
{
    struct resolver *resolver = start_resolver(2);
    struct question question = question_of("moved.test");
    (void)state;

    for (unsigned round = 1; round <= 100; round++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "127.0.0.%u", round);
        resolver_ask(resolver, &question.query);
        wait_for_count(&question.done, round);
        assert_string_equal(question.query.addresses, expected);
    }
    resolver_free(resolver);
}

static void many_questions_are_answered_once_each(void **state)
{
    static struct question questions[500];
    struct resolver *resolver = start_resolver(4);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
        questions[i] = question_of(i % 2 ? "once.test" : "gone.test");
        resolver_ask(resolver, &questions[i].query);
    }
    for (size_t i = 0; i < ARRAY_LEN(questions); i++)
        wait_for_count(&questions[i].done, 1);
    resolver_free(resolver);
    for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
        assert_int_equal(atomic_load(&questions[i].done), 1);
        assert_true((questions[i].query.addresses[0] != '\0') == (i % 2 == 1));
    }
}

static void *open_names_later(void *arg)
{
    names_open(true);
    return arg;
}

static void free_drops_what_was_asked_and_ends_the_threads(void **state)
{
    struct resolver *resolver = start_resolver(1);
    struct question *slow = malloc(sizeof(*slow));
    struct question *queued = malloc(sizeof(*queued));
    pthread_t thread;
    (void)state;

    *slow = question_of("slow.test");
    *queued = question_of("once.test");
    resolver_ask(resolver, &slow->query);
    resolver_ask(resolver, &queued->query);
    wait_for_count(&names_held, 1);
    start(&thread, open_names_later, NULL); /* at any moment of the following */
    resolver_free(resolver);
    thread_join(thread);
    assert_true(atomic_load(&slow->done) <= 1 && atomic_load(&queued->done) <= 1);
    free(slow);
    free(queued);
}

static bool is_resolver_thread(const char *task)
{
    char path[300];
    char name[32] = "";

    snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    bool is_read = fgets(name, sizeof(name), file) != NULL;
    fclose(file);
    return is_read && strncmp(name, "resolver", 8) == 0;
}

static bool has_no_resolver_thread(void *arg)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    unsigned count = 0;
    (void)arg;

    while ((entry = readdir(dir)))
        count += is_resolver_thread(entry->d_name);
    closedir(dir);
    return count == 0;
}

static int leave_a_look_up_behind(void)
{
    struct resolver *resolver = start_resolver(1);
    struct question *slow = malloc(sizeof(*slow));

    *slow = question_of("slow.test");
    resolver_ask(resolver, &slow->query);
    wait_for_count(&names_held, 1);
    resolver_free(resolver);
    if (atomic_load(&slow->done) != 0)
        return 1;
    free(slow); /* the query's memory is gone when the look-up ends at last */
    names_open(true);
    wait_until(has_no_resolver_thread, NULL);
    return 0;
}

/* In a process of its own, since a thread and its memory are lost. */
static void free_leaves_a_look_up_that_hangs_behind(void **state)
{
    int status = -1;
    pid_t pid = fork();
    (void)state;

    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_MS / 1000);
        _exit(leave_a_look_up_behind());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int set_up(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_becomes_its_addresses),
        cmocka_unit_test(an_unknown_name_is_an_error),
        cmocka_unit_test(a_slow_name_holds_up_only_its_thread),
        cmocka_unit_test(queries_for_one_host_share_a_look_up),
        cmocka_unit_test(a_query_may_be_asked_again),
        cmocka_unit_test(many_questions_are_answered_once_each),
        cmocka_unit_test(free_drops_what_was_asked_and_ends_the_threads),
        cmocka_unit_test(free_leaves_a_look_up_that_hangs_behind),
    };

    return cmocka_run_group_tests_name("resolver", tests, set_up, NULL);
}
