#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

int heap_init(struct heap *heap, size_t capacity)
{
    struct heap_node **nodes = calloc(capacity, sizeof(*nodes));

    if (!nodes)
        return -ENOMEM;
    *heap = (struct heap){.nodes = nodes, .capacity = capacity};
    return 0;
}

void heap_done(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}

uint64_t heap_due_ns(const struct heap *heap)
{
    return heap->size > 0 ? heap->nodes[0]->due_ns : CLOCK_NEVER;
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->size > 0 ? heap->nodes[0] : NULL;
}

static void put(struct heap *heap, size_t i, struct heap_node *node)
{
    heap->nodes[i] = node;
    node->place = i + 1;
}

/* Puts a node at the hole `i`, or as far above it as it must go. */
static void sift_up(struct heap *heap, size_t i, struct heap_node *node)
{
    for (; i > 0 && heap->nodes[(i - 1) / 2]->due_ns > node->due_ns; i = (i - 1) / 2)
        put(heap, i, heap->nodes[(i - 1) / 2]);
    put(heap, i, node);
}

/* The same downwards. */
static void sift_down(struct heap *heap, size_t i, struct heap_node *node)
{
    for (size_t child = 2 * i + 1; child < heap->size; child = 2 * i + 1) {
        if (child + 1 < heap->size && heap->nodes[child + 1]->due_ns < heap->nodes[child]->due_ns)
            child++;
        if (node->due_ns <= heap->nodes[child]->due_ns)
            break;
        put(heap, i, heap->nodes[child]);
        i = child;
    }
    put(heap, i, node);
}

void heap_push(struct heap *heap, uint64_t due_ns, struct heap_node *node)
{
    assert(heap->size < heap->capacity && !heap_has(node));
    node->due_ns = due_ns;
    sift_up(heap, heap->size++, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    assert(heap_has(node) && heap->nodes[node->place - 1] == node);
    size_t i = node->place - 1;
    struct heap_node *last = heap->nodes[--heap->size];
    node->place = 0;
    if (last == node)
        return;
    if (i > 0 && heap->nodes[(i - 1) / 2]->due_ns > last->due_ns)
        sift_up(heap, i, last);
    else
        sift_down(heap, i, last);
}
