/* The table as a tree: a node for each beginning of a path, segment by segment.  The children that are spelt
 * out are in order, to be found by halving; one more child stands for all arguments at this place. */
#include "front/router.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned bit;
} methods[] = {
    {"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},       {"PUT", HTTP_PUT},
    {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
};

unsigned http_method_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(methods[i].name, name) == 0)
            return methods[i].bit;
    return 0;
}

static unsigned allowed_methods(const struct route *route)
{
    return route->methods & HTTP_GET ? route->methods | HTTP_HEAD : route->methods;
}

/* ---- segments ---- */

struct segment {
    const char *text;
    size_t size;
};

/* Moves *p, which stands at a slash, behind the segment that follows; false when there is none.  One slash at
 * the end makes no difference: "/" has no segments, "//" an empty one. */
static bool next_segment(const char **p, struct segment *ret)
{
    if (**p == '\0' || strcmp(*p, "/") == 0)
        return false;
    ret->text = *p + 1;
    ret->size = strcspn(ret->text, "/");
    *p = ret->text + ret->size;
    return true;
}

static bool is_argument(const struct segment *segment)
{
    return segment->size > 2 && segment->text[0] == '{' && segment->text[segment->size - 1] == '}';
}

static int compare(const struct segment *a, const struct segment *b)
{
    int order = memcmp(a->text, b->text, MIN(a->size, b->size));

    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* ---- the tree ---- */

struct row {
    const struct route *route;
    struct row *next; /* with the same path, in the order of the table */
};

struct node {
    struct segment segment;
    struct node **children; /* by their segments */
    size_t child_count;
    struct node *argument; /* NULL: none may stand here */
    struct row *rows;      /* whose paths end here; NULL: it is a beginning only */
};

struct router {
    struct node root;
    struct row *rows; /* one for each of the table */
};

/* The child with this segment; NULL when there is none, and where it would be. */
static struct node *find_child(const struct node *node, const struct segment *segment, size_t *ret_at)
{
    size_t begin = 0;
    size_t end = node->child_count;

    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        int order = compare(segment, &node->children[middle]->segment);
        if (order == 0)
            return node->children[middle];
        if (order < 0)
            end = middle;
        else
            begin = middle + 1;
    }
    *ret_at = begin;
    return NULL;
}

static struct node *add_child(struct node *node, const struct segment *segment, size_t at)
{
    struct node *child = calloc(1, sizeof(*child));
    struct node **children = reallocarray(node->children, node->child_count + 1, sizeof(struct node *));

    if (children)
        node->children = children;
    if (!child || !children) {
        free(child);
        return NULL;
    }
    child->segment = *segment;
    memmove(children + at + 1, children + at, (node->child_count - at) * sizeof(struct node *));
    children[at] = child;
    node->child_count++;
    return child;
}

static struct node *argument_child(struct node *node)
{
    if (!node->argument)
        node->argument = calloc(1, sizeof(*node->argument));
    return node->argument;
}

static struct node *child_for(struct node *node, const struct segment *segment)
{
    size_t at = 0;

    if (is_argument(segment))
        return argument_child(node);
    struct node *child = find_child(node, segment, &at);
    return child ? child : add_child(node, segment, at);
}

static int check_path(const char *path, struct err *err)
{
    unsigned args = 0;
    struct segment segment;

    if (path[0] != '/')
        return err_set(err, -EINVAL, "the path %s does not begin with a slash", path);
    for (const char *p = path; next_segment(&p, &segment);) {
        args += is_argument(&segment);
        if (!is_argument(&segment) && strcspn(segment.text, "{}") < segment.size)
            return err_set(err, -EINVAL, "the path %s has braces that are not around a whole segment", path);
    }
    if (args > ROUTE_ARGS_MAX)
        return err_set(err, -EINVAL, "the path %s has more than %d arguments", path, ROUTE_ARGS_MAX);
    return 0;
}

static int add_row(struct node *node, struct row *row, struct err *err)
{
    struct row **at = &node->rows;

    for (; *at; at = &(*at)->next)
        if (allowed_methods((*at)->route) & allowed_methods(row->route))
            return err_set(err, -EEXIST, "the path %s is there twice for the same method, also as %s",
                           row->route->path, (*at)->route->path);
    *at = row;
    return 0;
}

static int add_route(struct router *router, struct row *row, struct err *err)
{
    struct node *node = &router->root;
    struct segment segment;
    int rc = check_path(row->route->path, err);

    if (rc < 0)
        return rc;
    for (const char *p = row->route->path; next_segment(&p, &segment);) {
        node = child_for(node, &segment);
        if (!node)
            return err_set(err, -ENOMEM, "out of memory");
    }
    return add_row(node, row, err);
}

/* As deep as the longest path of the table. */
static void free_below(struct node *node)
{
    for (size_t i = 0; i < node->child_count; i++) {
        free_below(node->children[i]);
        free(node->children[i]);
    }
    free(node->children);
    if (node->argument)
        free_below(node->argument);
    free(node->argument);
}

void router_free(struct router *router)
{
    if (!router)
        return;
    free_below(&router->root);
    free(router->rows);
    free(router);
}

int router_create(const struct route *routes, size_t count, struct router **ret_router, struct err *err)
{
    struct router *router = calloc(1, sizeof(*router));
    int rc = 0;

    if (router)
        router->rows = calloc(MAX(count, (size_t)1), sizeof(*router->rows));
    if (!router || !router->rows) {
        free(router);
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        router->rows[i].route = &routes[i];
        rc = add_route(router, &router->rows[i], err);
    }
    if (rc < 0) {
        router_free(router);
        return rc;
    }
    *ret_router = router;
    return 0;
}

/* ---- finding ---- */

/* The arguments on the way down. */
struct trail {
    struct segment args[ROUTE_ARGS_MAX];
    unsigned count;
};

/* The node where the path ends, spelt out as far to the left as there is one.  No deeper than the tree, and
 * no node is looked at twice. */
static const struct node *find_below(const struct node *node, const char *path, struct trail *trail)
{
    const struct node *found = NULL;
    struct segment segment;
    size_t at;

    if (!next_segment(&path, &segment))
        return node->rows ? node : NULL;
    const struct node *child = find_child(node, &segment, &at);
    if (child)
        found = find_below(child, path, trail);
    if (found || !node->argument || segment.size == 0)
        return found;
    trail->args[trail->count++] = segment;
    found = find_below(node->argument, path, trail);
    trail->count -= !found;
    return found;
}

static bool copy_args(const struct trail *trail, struct route_match *ret_match)
{
    size_t used = 0;

    for (unsigned i = 0; i < trail->count; i++) {
        const struct segment *arg = &trail->args[i];
        if (arg->size >= ROUTE_ARGS_SIZE - used)
            return false;
        memcpy(ret_match->args + used, arg->text, arg->size);
        used += arg->size;
        ret_match->args[used++] = '\0';
    }
    ret_match->arg_count = trail->count;
    return true;
}

static void format_allow(unsigned allowed, char ret_allow[ROUTE_ALLOW_SIZE])
{
    size_t length = 0;

    ret_allow[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(methods) && length < ROUTE_ALLOW_SIZE; i++)
        if (allowed & methods[i].bit)
            length += (size_t)snprintf(ret_allow + length, ROUTE_ALLOW_SIZE - length, "%s%s",
                                       length ? ", " : "", methods[i].name);
}

enum route_result router_find(const struct router *router, unsigned method, const char *path,
                              struct route_match *ret_match)
{
    struct trail trail = {.count = 0};
    unsigned allowed = 0;
    const struct node *node = path[0] == '/' ? find_below(&router->root, path, &trail) : NULL;

    if (!node || !copy_args(&trail, ret_match))
        return ROUTE_NO_PATH;
    for (const struct row *row = node->rows; row; row = row->next) {
        ret_match->route = row->route;
        if (allowed_methods(row->route) & method)
            return ROUTE_FOUND;
        allowed |= allowed_methods(row->route);
    }
    format_allow(allowed, ret_match->allow);
    return ROUTE_NO_METHOD;
}
