#include "base/pairing.h"

/* Of two trees, either of which may be empty, one. */
static struct pairing_node *merge(struct pairing_node *a, struct pairing_node *b)
{
    if (!a || !b)
        return a ? a : b;
    struct pairing_node *first = b->due_ns < a->due_ns ? b : a;
    struct pairing_node *later = first == a ? b : a;
    later->before = first;
    later->next = first->child;
    if (first->child)
        first->child->before = later;
    first->child = later;
    return first;
}

static struct pairing_node *take_tree(struct pairing_node **list)
{
    struct pairing_node *tree = *list;

    if (tree) {
        *list = tree->next;
        tree->next = NULL;
        tree->before = NULL;
    }
    return tree;
}

/* Of the trees in a list, one: in pairs, and those from the last to the first. */
static struct pairing_node *merge_list(struct pairing_node *list)
{
    struct pairing_node *pairs = NULL;
    struct pairing_node *whole = NULL;

    while (list) {
        struct pairing_node *a = take_tree(&list);
        struct pairing_node *b = take_tree(&list);
        struct pairing_node *pair = merge(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs)
        whole = merge(take_tree(&pairs), whole);
    return whole;
}

static void cut(struct pairing_node *node)
{
    struct pairing_node *before = node->before;

    if (before->child == node)
        before->child = node->next;
    else
        before->next = node->next;
    if (node->next)
        node->next->before = before;
}

void pairing_add(struct pairing *heap, struct pairing_node *node)
{
    node->child = node->next = node->before = NULL;
    heap->first = merge(heap->first, node);
}

void pairing_remove(struct pairing *heap, struct pairing_node *node)
{
    struct pairing_node *children = merge_list(node->child);

    if (node == heap->first) {
        heap->first = children;
        return;
    }
    cut(node);
    heap->first = merge(heap->first, children);
}
