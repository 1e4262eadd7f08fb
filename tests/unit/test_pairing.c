#include "harness.h"

#include "base/pairing.h"

#define N 1000

static uint64_t random_number(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void the_earliest_comes_first(void **state)
{
    static struct pairing_node nodes[N];
    struct pairing heap = {0};
    uint64_t seed = 1;
    (void)state;

    for (unsigned round = 0; round < 3; round++) {
        uint64_t last = 0;
        for (size_t i = 0; i < N; i++) {
            nodes[i].due_ns = random_number(&seed) % 300; /* many are equal */
            pairing_add(&heap, &nodes[i]);
        }
        for (size_t i = 0; i < N; i++) {
            assert_non_null(heap.first);
            assert_true(heap.first->due_ns >= last);
            last = heap.first->due_ns;
            pairing_remove(&heap, heap.first);
        }
        assert_null(heap.first);
    }
}

/* ---- any node, at any time: against an array that is searched ---- */

struct model {
    struct pairing heap;
    struct pairing_node nodes[N];
    bool is_in[N];
};

static void check(const struct model *model)
{
    uint64_t least = CLOCK_NEVER;
    bool is_empty = true;

    for (size_t i = 0; i < N; i++) {
        if (!model->is_in[i])
            continue;
        is_empty = false;
        least = MIN(least, model->nodes[i].due_ns);
    }
    assert_int_equal(model->heap.first == NULL, is_empty);
    assert_true(is_empty || model->heap.first->due_ns == least);
}

static void toggle(struct model *model, size_t i, uint64_t due_ns)
{
    if (model->is_in[i]) {
        pairing_remove(&model->heap, &model->nodes[i]);
    } else {
        model->nodes[i].due_ns = due_ns;
        pairing_add(&model->heap, &model->nodes[i]);
    }
    model->is_in[i] = !model->is_in[i];
}

static void any_node_can_be_taken_out(void **state)
{
    static struct model model;
    uint64_t seed = 3;
    (void)state;

    for (unsigned step = 0; step < 20000; step++) {
        toggle(&model, random_number(&seed) % N, random_number(&seed) % (step % 2 ? 50 : 1000000));
        if (step % 16 == 0)
            check(&model);
        if (step % 512 == 0 && model.heap.first) /* the first as well: what is below it is put together */
            toggle(&model, (size_t)(model.heap.first - model.nodes), 0);
    }
    for (size_t i = 0; i < N; i++)
        if (model.is_in[i])
            toggle(&model, i, 0);
    assert_null(model.heap.first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earliest_comes_first),
        cmocka_unit_test(any_node_can_be_taken_out),
    };

    return cmocka_run_group_tests_name("pairing", tests, NULL, NULL);
}
