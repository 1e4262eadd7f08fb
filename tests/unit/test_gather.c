/* The engine of fan-outs with parts whose ends the tests decide: order, graphs, enough, cancels at every
 * moment. */
#include "harness.h"

#include "gather/gather.h"

#define PARTS_MAX 64

enum end { END_LATER, END_OK, END_FAILED };

/* One gather, and what its parts and callbacks have seen. */
struct world;

struct fake {
    struct part part;
    struct world *world;
    enum end at_start; /* how it ends inside `start` */
    uint16_t after[PARTS_MAX];
    atomic_uint starts;
    atomic_uint asked;
    atomic_uint told;
};

struct world {
    struct fake *fakes;
    struct part **pointers;
    size_t count;
    struct gather *gather;
    atomic_uint start_calls;
    atomic_uint running;
    atomic_uint most_running;
    atomic_uint told;
    atomic_uint done;
    atomic_uint released;
    atomic_int inside; /* callbacks at this moment */
    atomic_bool is_wrong;
    struct fake *end_when_told; /* by the first part_ended */
    bool cancels_at_start;
    void (*on_started)(struct fake *fake); /* for threads */
};

static struct fake *fake_of(struct part *part)
{
    return container_of(part, struct fake, part);
}

static void wrong_if(struct world *world, bool is_wrong)
{
    if (is_wrong)
        atomic_store(&world->is_wrong, true);
}

static void end(struct fake *fake, bool is_ok)
{
    atomic_fetch_sub(&fake->world->running, 1);
    part_end(&fake->part, is_ok);
}

static void begin(struct fake *fake)
{
    struct world *world = fake->world;
    unsigned running = atomic_fetch_add(&world->running, 1) + 1;
    unsigned most = atomic_load(&world->most_running);

    while (running > most && !atomic_compare_exchange_weak(&world->most_running, &most, running))
        continue;
    wrong_if(world, atomic_fetch_add(&fake->starts, 1) > 0);
    for (size_t i = 0; i < fake->part.after_count; i++)
        wrong_if(world, world->fakes[fake->after[i]].part.state != PART_OK);
}

static void fake_start(struct part **parts, size_t count)
{
    struct world *world = fake_of(parts[0])->world;

    atomic_fetch_add(&world->start_calls, 1);
    for (size_t i = 0; i < count; i++)
        begin(fake_of(parts[i]));
    if (world->cancels_at_start)
        gather_cancel(world->gather);
    for (size_t i = 0; i < count; i++) {
        struct fake *fake = fake_of(parts[i]);
        if (fake->at_start != END_LATER)
            end(fake, fake->at_start == END_OK);
        else if (world->on_started)
            world->on_started(fake);
    }
}

static void fake_cancel(struct part *part)
{
    wrong_if(fake_of(part)->world, atomic_load(&fake_of(part)->starts) != 1);
    atomic_fetch_add(&fake_of(part)->asked, 1);
}

static const struct part_ops fake_ops = {fake_start, fake_cancel};
static const struct part_ops other_ops = {fake_start, fake_cancel};

static void on_part_ended(struct gather *gather, struct part *part, void *arg)
{
    struct world *world = arg;
    struct fake *other = world->end_when_told;

    wrong_if(world, atomic_fetch_add(&world->inside, 1) != 0 || atomic_load(&world->done) > 0);
    wrong_if(world, gather_ended(gather, atomic_fetch_add(&world->told, 1)) != part);
    wrong_if(world, atomic_fetch_add(&fake_of(part)->told, 1) != 0);
    wrong_if(world, part->state < PART_OK || part->ended_ns < part->started_ns);
    world->end_when_told = NULL;
    if (other)
        end(other, true);
    atomic_fetch_sub(&world->inside, 1);
}

static void on_done(struct gather *gather, void *arg)
{
    struct world *world = arg;

    wrong_if(world, gather != world->gather || atomic_load(&world->inside) != 0);
    atomic_fetch_add(&world->done, 1);
}

static void on_release(void *arg)
{
    atomic_fetch_add(&((struct world *)arg)->released, 1);
}

/* ---- making and looking ---- */

static void world_init(struct world *world, size_t count)
{
    *world = (struct world){.count = count};
    world->fakes = calloc(count + 1, sizeof(struct fake));
    world->pointers = calloc(count + 1, sizeof(struct part *));
    assert_true(world->fakes && world->pointers);
    for (size_t i = 0; i < count; i++) {
        struct fake *fake = &world->fakes[i];
        world->pointers[i] = &fake->part;
        fake->world = world;
        fake->part.ops = &fake_ops;
        fake->part.after = fake->after;
    }
}

static void waits(struct world *world, size_t part, size_t other)
{
    struct fake *fake = &world->fakes[part];

    fake->after[fake->part.after_count++] = (uint16_t)other;
}

static void world_create(struct world *world, unsigned max_concurrency, size_t enough)
{
    struct err err = {0};
    const struct gather_options options = {
        .parts = world->pointers,
        .count = world->count,
        .max_concurrency = max_concurrency,
        .enough = enough,
        .part_ended = on_part_ended,
        .done = on_done,
        .release = on_release,
        .arg = world,
    };

    if (gather_create(&options, &world->gather, &err) < 0)
        fail_msg("%s", err.text);
}

static void world_start(struct world *world, unsigned max_concurrency, size_t enough)
{
    world_create(world, max_concurrency, enough);
    gather_start(world->gather);
}

static size_t count_state(const struct world *world, enum part_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < world->count; i++)
        count += world->fakes[i].part.state == state;
    return count;
}

static void assert_states(const struct world *world, const enum part_state *states)
{
    for (size_t i = 0; i < world->count; i++)
        assert_int_equal(world->fakes[i].part.state, states[i]);
}

/* Each part has ended and was told of once, `done` was called once, nothing else went wrong. */
static void world_end(struct world *world)
{
    assert_int_equal(atomic_load(&world->done), 1);
    assert_int_equal(atomic_load(&world->told), world->count);
    assert_false(atomic_load(&world->is_wrong));
    assert_int_equal(atomic_load(&world->running), 0);
    for (size_t i = 0; i < world->count; i++) {
        const struct fake *fake = &world->fakes[i];
        assert_int_equal(atomic_load(&fake->told), 1);
        assert_true(atomic_load(&fake->asked) <= 1);
        assert_int_equal(fake->part.started_ns > 0, atomic_load(&fake->starts) == 1);
        assert_ptr_equal(gather_part(world->gather, i), &fake->part);
    }
    assert_int_equal(gather_count(world->gather), world->count);
    assert_ptr_equal(gather_arg(world->gather), world);
    assert_int_equal(atomic_load(&world->released), 0);
    gather_unref(world->gather);
    assert_int_equal(atomic_load(&world->released), 1);
    free(world->fakes);
    free(world->pointers);
}

/* ---- order and concurrency ---- */

static void nothing_is_done_at_once(void **state)
{
    struct world world;
    (void)state;

    for (int cancelled = 0; cancelled < 2; cancelled++) {
        world_init(&world, 0);
        world_create(&world, 5, 0);
        if (cancelled)
            gather_cancel(world.gather);
        gather_start(world.gather);
        gather_cancel(world.gather);
        assert_true(gather_is_complete(world.gather));
        world_end(&world);
    }
}

static void parts_that_wait_for_none_start_together(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 50);
    world_start(&world, 0, 0);
    assert_int_equal(atomic_load(&world.start_calls), 1);
    assert_int_equal(atomic_load(&world.running), 50);
    for (size_t i = 0; i < 50; i++)
        end(&world.fakes[(i * 7) % 50], true);
    for (size_t i = 0; i < 50; i++)
        assert_ptr_equal(gather_ended(world.gather, i), &world.fakes[(i * 7) % 50].part);
    assert_true(gather_is_complete(world.gather));
    world_end(&world);
}

static void parts_of_another_kind_start_by_themselves(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 5);
    world.fakes[2].part.ops = &other_ops;
    world.fakes[3].part.ops = &other_ops;
    world_start(&world, 0, 0);
    assert_int_equal(atomic_load(&world.start_calls), 3);
    assert_int_equal(atomic_load(&world.running), 5);
    for (size_t i = 0; i < 5; i++)
        end(&world.fakes[i], true);
    world_end(&world);
}

static void no_more_than_max_concurrency_run_at_once(void **state)
{
    struct world world;
    (void)state;

    for (unsigned limit = 1; limit < 12; limit++) {
        world_init(&world, 10);
        world_start(&world, limit, 0);
        for (size_t i = 0; i < 10; i++) {
            assert_int_equal(atomic_load(&world.running), MIN(limit, 10 - i));
            end(&world.fakes[i], i % 2 == 0);
        }
        assert_int_equal(atomic_load(&world.most_running), MIN(limit, 10));
        assert_false(gather_is_complete(world.gather));
        world_end(&world);
    }
}

static void many_parts_that_end_at_once_do_not_recurse(void **state)
{
    struct world world;
    (void)state;

    for (unsigned limit = 0; limit < 3; limit++) {
        world_init(&world, 60000);
        for (size_t i = 0; i < world.count; i++) {
            world.fakes[i].at_start = END_OK;
            if (i > 0)
                waits(&world, i, i - 1);
        }
        world_start(&world, limit, 0);
        world_end(&world);
    }
}

/* ---- graphs ---- */

static void a_part_starts_when_all_that_it_waits_for_have_succeeded(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 4); /* a diamond: 1 and 2 behind 0, 3 behind both */
    waits(&world, 1, 0);
    waits(&world, 2, 0);
    waits(&world, 3, 1);
    waits(&world, 3, 2);
    world_start(&world, 0, 0);
    assert_int_equal(atomic_load(&world.running), 1);
    end(&world.fakes[0], true);
    assert_int_equal(atomic_load(&world.start_calls), 2);
    assert_int_equal(atomic_load(&world.running), 2);
    end(&world.fakes[2], true);
    assert_int_equal(atomic_load(&world.fakes[3].starts), 0);
    end(&world.fakes[1], true);
    assert_int_equal(atomic_load(&world.fakes[3].starts), 1);
    end(&world.fakes[3], true);
    world_end(&world);
}

static void what_waits_for_a_failed_part_is_skipped(void **state)
{
    static const enum part_state expected[] = {PART_FAILED, PART_OK, PART_SKIPPED, PART_SKIPPED, PART_OK};
    struct world world;
    (void)state;

    world_init(&world, 5);
    waits(&world, 2, 0);
    waits(&world, 2, 1);
    waits(&world, 3, 2);
    waits(&world, 4, 1);
    world_start(&world, 0, 0);
    end(&world.fakes[0], false);
    assert_int_equal(count_state(&world, PART_SKIPPED), 2);
    end(&world.fakes[1], true);
    end(&world.fakes[4], true);
    assert_states(&world, expected);
    assert_ptr_equal(world.fakes[2].part.cause, &world.fakes[0].part);
    assert_ptr_equal(world.fakes[3].part.cause, &world.fakes[2].part);
    assert_false(gather_is_complete(world.gather));
    world_end(&world);
}

static void callbacks_come_one_after_the_other(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 3);
    world.end_when_told = &world.fakes[2]; /* inside the callback of another */
    world_start(&world, 0, 0);
    end(&world.fakes[0], true);
    assert_int_equal(atomic_load(&world.told), 2);
    end(&world.fakes[1], true);
    world_end(&world);
}

/* ---- enough ---- */

static void when_it_is_enough_the_rest_is_cancelled(void **state)
{
    static const enum part_state expected[] = {PART_CANCELLED, PART_FAILED, PART_OK, PART_OK, PART_CANCELLED};
    struct world world;
    (void)state;

    world_init(&world, 5);
    world_start(&world, 4, 2);
    end(&world.fakes[1], false);
    end(&world.fakes[2], true);
    assert_int_equal(atomic_load(&world.fakes[4].starts), 1);
    end(&world.fakes[3], true);
    assert_int_equal(atomic_load(&world.fakes[0].asked), 1);
    assert_int_equal(atomic_load(&world.fakes[4].asked), 1);
    assert_int_equal(atomic_load(&world.done), 0);
    end(&world.fakes[0], false);
    end(&world.fakes[4], false);
    assert_states(&world, expected);
    assert_true(gather_is_complete(world.gather));
    world_end(&world);
}

static void when_it_is_enough_what_waits_never_starts(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 4);
    waits(&world, 3, 2);
    world_start(&world, 1, 1);
    end(&world.fakes[0], true);
    assert_int_equal(count_state(&world, PART_CANCELLED), 3);
    assert_int_equal(atomic_load(&world.start_calls), 1);
    world_end(&world);
}

static void a_success_that_comes_too_late_counts_all_the_same(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 2);
    world_start(&world, 0, 1);
    end(&world.fakes[0], true);
    end(&world.fakes[1], true); /* was asked to end, but had */
    assert_int_equal(count_state(&world, PART_OK), 2);
    world_end(&world);
}

static void enough_at_the_start_asks_those_that_were_started_with_it(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 3);
    world.fakes[1].at_start = END_OK;
    world_start(&world, 0, 1);
    assert_int_equal(atomic_load(&world.fakes[0].asked), 1);
    assert_int_equal(atomic_load(&world.fakes[2].asked), 1);
    assert_int_equal(atomic_load(&world.fakes[1].asked), 0);
    end(&world.fakes[0], false);
    end(&world.fakes[2], false);
    world_end(&world);
}

/* ---- cancels ---- */

static void cancelled_before_its_start_nothing_runs(void **state)
{
    struct world world;
    (void)state;

    for (unsigned limit = 0; limit < 3; limit++) {
        world_init(&world, 10);
        waits(&world, 9, 8);
        world_create(&world, limit, 0);
        gather_cancel(world.gather);
        assert_int_equal(atomic_load(&world.done) + atomic_load(&world.told), 0);
        gather_start(world.gather);
        assert_int_equal(count_state(&world, PART_CANCELLED), 10);
        assert_int_equal(atomic_load(&world.start_calls), 0);
        world_end(&world);
    }
}

static void cancelled_while_it_runs_all_parts_end(void **state)
{
    struct world world;
    (void)state;

    for (unsigned limit = 0; limit < 12; limit++) {
        world_init(&world, 10);
        world_start(&world, limit, 0);
        size_t running = atomic_load(&world.running);
        gather_cancel(world.gather);
        gather_cancel(world.gather);
        assert_int_equal(atomic_load(&world.done) + atomic_load(&world.told), 0); /* never from within */
        for (size_t i = 0; i < running; i++) {
            assert_int_equal(atomic_load(&world.fakes[i].asked), 1);
            end(&world.fakes[i], false);
        }
        assert_int_equal(count_state(&world, PART_CANCELLED), 10);
        world_end(&world);
    }
}

static void cancelled_while_parts_start_they_are_asked_afterwards(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 4);
    world.cancels_at_start = true;
    world.fakes[1].at_start = END_OK;
    world_start(&world, 3, 0);
    assert_int_equal(atomic_load(&world.fakes[0].asked), 1);
    assert_int_equal(atomic_load(&world.fakes[1].asked), 0);
    assert_int_equal(atomic_load(&world.fakes[3].starts), 0);
    end(&world.fakes[0], false);
    end(&world.fakes[2], false);
    world_end(&world);
}

static void cancelled_while_a_part_starts_those_that_run_are_asked_once(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 3);
    waits(&world, 2, 1);
    world_start(&world, 0, 0);
    world.cancels_at_start = true;
    end(&world.fakes[1], true);
    assert_int_equal(atomic_load(&world.fakes[0].asked), 1);
    assert_int_equal(atomic_load(&world.fakes[2].asked), 1);
    end(&world.fakes[0], false);
    end(&world.fakes[2], false);
    world_end(&world);
}

static void cancelled_after_its_end_it_stays_as_it_is(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 1);
    world.fakes[0].at_start = END_OK;
    world_start(&world, 0, 0);
    gather_cancel(world.gather);
    assert_int_equal(count_state(&world, PART_OK), 1);
    world_end(&world);
}

static void the_last_reference_releases(void **state)
{
    struct world world;
    (void)state;

    world_init(&world, 1);
    world.fakes[0].at_start = END_FAILED;
    world_start(&world, 0, 0);
    struct gather *gather = gather_ref(world.gather);
    gather_unref(gather);
    gather_unref(NULL);
    world_end(&world);
}

/* ---- random graphs against a model ---- */

static uint64_t random_state = 20261130;

static unsigned random_below(unsigned limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % limit;
}

static void fill_random(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        world->fakes[i].at_start = random_below(5) == 0 ? 1 + random_below(2) : END_LATER;
        for (size_t j = 0; j < i; j++)
            if (random_below(4) == 0)
                waits(world, i, j);
    }
    /* Mixed, so that parts also wait for later ones. */
    for (size_t i = world->count; i-- > 1;) {
        size_t other = random_below((unsigned)i + 1);
        struct fake swap = world->fakes[i];
        world->fakes[i] = world->fakes[other];
        world->fakes[other] = swap;
        for (size_t j = 0; j < world->count; j++)
            for (size_t k = 0; k < world->fakes[j].part.after_count; k++) {
                uint16_t *after = &world->fakes[j].after[k];
                *after = (uint16_t)(*after == i ? other : *after == other ? i : *after);
            }
    }
    for (size_t i = 0; i < world->count; i++)
        world->fakes[i].part.after = world->fakes[i].after;
}

/* What the state of a part that does not run has to be, given the others'. */
static bool is_as_it_has_to_be(const struct world *world, const struct fake *fake, bool is_over,
                               bool has_room)
{
    size_t ok = 0;
    size_t lost = 0;

    for (size_t i = 0; i < fake->part.after_count; i++) {
        enum part_state state = world->fakes[fake->after[i]].part.state;
        ok += state == PART_OK;
        lost += state > PART_OK;
    }
    switch (fake->part.state) {
    case PART_WAITING:
        return !is_over && lost == 0 && (ok < fake->part.after_count || !has_room);
    case PART_SKIPPED:
        return lost > 0;
    case PART_CANCELLED:
        return is_over;
    default:
        return ok == fake->part.after_count;
    }
}

static void check_model(const struct world *world, unsigned limit, size_t enough, bool is_cancelled)
{
    size_t running = count_state(world, PART_RUNNING);
    bool is_over = is_cancelled || (enough > 0 && count_state(world, PART_OK) >= enough);
    bool has_room = limit == 0 || running < limit;

    assert_int_equal(atomic_load(&world->running), running);
    assert_true(limit == 0 || running <= limit);
    assert_int_equal(atomic_load(&world->done), count_state(world, PART_WAITING) + running == 0);
    for (size_t i = 0; i < world->count; i++) {
        const struct fake *fake = &world->fakes[i];
        assert_true(is_as_it_has_to_be(world, fake, is_over, has_room));
        if (fake->part.state == PART_RUNNING)
            assert_int_equal(atomic_load(&fake->asked), is_over);
    }
}

static struct fake *random_running(struct world *world)
{
    size_t skip = random_below((unsigned)count_state(world, PART_RUNNING));

    for (size_t i = 0; i < world->count; i++)
        if (world->fakes[i].part.state == PART_RUNNING && skip-- == 0)
            return &world->fakes[i];
    return NULL;
}

static void random_graphs_go_as_the_model_does(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct world world;
        unsigned limit = random_below(4);
        bool is_cancelled = random_below(20) == 0;
        world_init(&world, 1 + random_below(14));
        size_t enough = random_below(3) == 0 ? 1 + random_below((unsigned)world.count) : 0;
        fill_random(&world);
        world_create(&world, limit, enough);
        if (is_cancelled)
            gather_cancel(world.gather);
        gather_start(world.gather);
        check_model(&world, limit, enough, is_cancelled);
        while (atomic_load(&world.done) == 0) {
            if (random_below(20) == 0) {
                gather_cancel(world.gather);
                is_cancelled = true;
            }
            check_model(&world, limit, enough, is_cancelled);
            end(random_running(&world), random_below(4) > 0);
            check_model(&world, limit, enough, is_cancelled);
        }
        world_end(&world);
    }
}

/* ---- threads ---- */

#define THREADS 3

/* Parts that were started, for threads to end. */
struct pile {
    pthread_mutex_t lock;
    struct fake *fakes[PARTS_MAX];
    size_t count;
    pthread_barrier_t barrier;
    struct world world;
    atomic_bool is_over;
};

static struct pile pile;

static void put_on_pile(struct fake *fake)
{
    LOCK(&pile.lock);
    pile.fakes[pile.count++] = fake;
}

static struct fake *take_from_pile(size_t salt)
{
    LOCK(&pile.lock);
    if (pile.count == 0)
        return NULL;
    size_t index = salt % pile.count;
    struct fake *fake = pile.fakes[index];
    pile.fakes[index] = pile.fakes[--pile.count];
    return fake;
}

static void end_parts(unsigned *salt)
{
    while (atomic_load(&pile.world.done) == 0) {
        struct fake *fake = take_from_pile(++*salt * 7919);
        if (fake)
            end(fake, *salt % 5 > 0);
    }
}

static void *thread_main(void *arg)
{
    unsigned salt = (unsigned)(uintptr_t)arg;

    for (;;) {
        pthread_barrier_wait(&pile.barrier);
        if (atomic_load(&pile.is_over))
            return NULL;
        if (salt % 4 == 0)
            gather_cancel(pile.world.gather);
        end_parts(&salt);
        pthread_barrier_wait(&pile.barrier);
    }
}

static void parts_that_end_on_many_threads_end_it_once(void **state)
{
    pthread_t threads[THREADS];
    (void)state;

    mutex_init(&pile.lock);
    pthread_barrier_init(&pile.barrier, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        start(&threads[i], thread_main, (void *)(uintptr_t)(i * 1000));
    for (unsigned round = 0; round < 1000; round++) {
        world_init(&pile.world, 1 + random_below(20));
        fill_random(&pile.world);
        pile.world.on_started = put_on_pile;
        world_create(&pile.world, random_below(5), random_below(4));
        pthread_barrier_wait(&pile.barrier);
        gather_start(pile.world.gather);
        pthread_barrier_wait(&pile.barrier);
        assert_int_equal(pile.count, 0);
        world_end(&pile.world);
    }
    atomic_store(&pile.is_over, true);
    pthread_barrier_wait(&pile.barrier);
    for (size_t i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    pthread_barrier_destroy(&pile.barrier);
    pthread_mutex_destroy(&pile.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_done_at_once),
        cmocka_unit_test(parts_that_wait_for_none_start_together),
        cmocka_unit_test(parts_of_another_kind_start_by_themselves),
        cmocka_unit_test(no_more_than_max_concurrency_run_at_once),
        cmocka_unit_test(many_parts_that_end_at_once_do_not_recurse),
        cmocka_unit_test(a_part_starts_when_all_that_it_waits_for_have_succeeded),
        cmocka_unit_test(what_waits_for_a_failed_part_is_skipped),
        cmocka_unit_test(callbacks_come_one_after_the_other),
        cmocka_unit_test(when_it_is_enough_the_rest_is_cancelled),
        cmocka_unit_test(when_it_is_enough_what_waits_never_starts),
        cmocka_unit_test(a_success_that_comes_too_late_counts_all_the_same),
        cmocka_unit_test(enough_at_the_start_asks_those_that_were_started_with_it),
        cmocka_unit_test(cancelled_before_its_start_nothing_runs),
        cmocka_unit_test(cancelled_while_it_runs_all_parts_end),
        cmocka_unit_test(cancelled_while_parts_start_they_are_asked_afterwards),
        cmocka_unit_test(cancelled_while_a_part_starts_those_that_run_are_asked_once),
        cmocka_unit_test(cancelled_after_its_end_it_stays_as_it_is),
        cmocka_unit_test(the_last_reference_releases),
        cmocka_unit_test(random_graphs_go_as_the_model_does),
        cmocka_unit_test(parts_that_end_on_many_threads_end_it_once),
    };

    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
