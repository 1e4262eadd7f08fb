#include "harness.h"

#include "base/heap.h"

#define N 1000

static uint64_t random_number(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void an_empty_heap_has_no_time(void **state)
{
    struct heap heap;
    (void)state;

    assert_int_equal(heap_init(&heap, 1), 0);
    assert_true(heap_due_ns(&heap) == CLOCK_NEVER);
    assert_null(heap_first(&heap));
    heap_done(&heap);
    heap_done(&heap);
}

static void the_earliest_comes_first(void **state)
{
    static struct heap_node nodes[N];
    struct heap heap;
    uint64_t seed = 1;
    (void)state;

    assert_int_equal(heap_init(&heap, N), 0);
    for (unsigned round = 0; round < 3; round++) {
        uint64_t last = 0;
        for (size_t i = 0; i < N; i++)
            heap_push(&heap, random_number(&seed) % 300, &nodes[i]); /* many are equal */
        for (size_t i = 0; i < N; i++) {
            struct heap_node *first = heap_first(&heap);
            assert_true(first->due_ns == heap_due_ns(&heap) && first->due_ns >= last);
            last = first->due_ns;
            heap_remove(&heap, first);
            assert_false(heap_has(first));
        }
        assert_int_equal(heap.size, 0);
    }
    heap_done(&heap);
}

static void a_node_knows_whether_it_is_in_a_heap(void **state)
{
    struct heap_node nodes[2] = {{0}};
    struct heap heap;
    (void)state;

    assert_int_equal(heap_init(&heap, 2), 0);
    assert_false(heap_has(&nodes[0]));
    heap_push(&heap, 7, &nodes[0]);
    heap_push(&heap, CLOCK_NEVER, &nodes[1]);
    assert_true(heap_has(&nodes[0]) && heap_has(&nodes[1]));
    heap_remove(&heap, &nodes[1]);
    assert_false(heap_has(&nodes[1]));
    assert_ptr_equal(heap_first(&heap), &nodes[0]);
    heap_remove(&heap, &nodes[0]);
    heap_push(&heap, 8, &nodes[0]); /* and may come again */
    assert_true(heap_due_ns(&heap) == 8);
    heap_done(&heap);
}

/* ---- any node, at any time: against an array that is searched ---- */

struct model {
    struct heap heap;
    struct heap_node nodes[N];
    uint64_t due_ns[N]; /* 0: not in it */
    size_t count;
};

static void check(const struct model *model)
{
    uint64_t least = CLOCK_NEVER;

    for (size_t i = 0; i < N; i++) {
        assert_int_equal(heap_has(&model->nodes[i]), model->due_ns[i] != 0);
        if (model->due_ns[i] != 0)
            least = MIN(least, model->due_ns[i]);
    }
    assert_true(heap_due_ns(&model->heap) == least);
    assert_int_equal(model->heap.size, model->count);
    for (size_t i = 1; i < model->heap.size; i++)
        assert_true(model->heap.nodes[i]->due_ns >= model->heap.nodes[(i - 1) / 2]->due_ns);
}

static void toggle(struct model *model, size_t i, uint64_t due_ns)
{
    if (model->due_ns[i] != 0) {
        heap_remove(&model->heap, &model->nodes[i]);
        model->due_ns[i] = 0;
        model->count--;
        return;
    }
    heap_push(&model->heap, due_ns, &model->nodes[i]);
    model->due_ns[i] = due_ns;
    model->count++;
}

static void any_node_can_be_taken_out(void **state)
{
    static struct model model;
    uint64_t seed = 3;
    (void)state;

    assert_int_equal(heap_init(&model.heap, N), 0);
    for (unsigned step = 0; step < 20000; step++) {
        toggle(&model, random_number(&seed) % N, 1 + random_number(&seed) % (step % 2 ? 50 : 1000000));
        if (step % 64 == 0)
            check(&model);
    }
    for (size_t i = 0; i < N; i++)
        if (model.due_ns[i] != 0)
            toggle(&model, i, 0);
    check(&model);
    heap_done(&model.heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_time),
        cmocka_unit_test(the_earliest_comes_first),
        cmocka_unit_test(a_node_knows_whether_it_is_in_a_heap),
        cmocka_unit_test(any_node_can_be_taken_out),
    };

    return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
