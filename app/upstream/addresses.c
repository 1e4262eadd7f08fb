/* The addresses of a name: which one is asked, and which are left alone because they fail.
 *
 * Of two that are drawn the one with fewer attempts in flight is asked (Mitzenmacher, The Power of Two
 * Choices, 2001), so a slow machine gets less without anybody measuring it.  One that fails again and again,
 * or more often than the breaker would bear, is ejected for open_ms, the next time for twice as long, ...;
 * but never more than half of them: when all fail it is not the addresses, and the breaker's turn. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/json.h"
#include "upstream/policy.h"
#include "upstream/window.h"

/* Names have at most 8 (resolver.h), and may change them. */
#define ADDRESSES_MAX 16

#define FAILURES_IN_A_ROW 5
#define EJECTED_MAX_MS    UINT64_C(300000)

enum { WINDOW_CALLS, WINDOW_FAILURES };

struct address {
    char text[FETCH_ADDRESS_SIZE]; /* "": a free place */
    uint64_t listed_ns;            /* when the name last had it */
    unsigned in_flight;
    unsigned failures_in_a_row;
    bool is_ejected;
    uint64_t ejected_until_ns;
    unsigned ejections; /* since it was last well for as long as it had been ejected */
    uint64_t calls_total;
    uint64_t failures_total;
    struct window window;
};

struct addresses {
    const struct config_upstream *config;
    size_t label;
    uint64_t random;
    uint64_t listed_ns; /* of those that the name has now */
    size_t listed_count;
    struct address all[ADDRESSES_MAX];
};

enum { ROW_EJECTED, ROW_EJECTIONS };

static struct metric rows[] = {
    [ROW_EJECTED] = {.name = "heddle_upstream_addresses_ejected",
                     .type = METRIC_GAUGE,
                     .help = "addresses of the upstream's name that are left alone because they failed",
                     .labels = {{.name = "upstream"}}},
    [ROW_EJECTIONS] = {.name = "heddle_upstream_ejections_total",
                       .type = METRIC_COUNTER,
                       .help = "times that an address was left alone because it failed",
                       .labels = {{.name = "upstream"}}},
};

/* `others` has no URL, and many names.  Without a breaker the addresses are still chosen, and none is
 * ejected. */
static bool is_on(const struct config_upstream *config)
{
    return config->base_url != NULL;
}

static int init(void *state, const struct config_upstream *config, size_t label, struct err *err)
{
    struct addresses *addresses = state;

    addresses->config = config;
    addresses->label = label;
    for (size_t i = 0; i < ADDRESSES_MAX; i++)
        window_init(&addresses->all[i].window, config->breaker.window_ms * NS_PER_MS);
    if (getrandom(&addresses->random, sizeof(addresses->random), 0) != (ssize_t)sizeof(addresses->random))
        return err_set_errno(err, errno, "no random bytes");
    return 0;
}

/* ---- the table ---- */

static struct address *find(struct addresses *addresses, const char *text)
{
    for (size_t i = 0; i < ADDRESSES_MAX && text[0] != '\0'; i++)
        if (strcmp(addresses->all[i].text, text) == 0)
            return &addresses->all[i];
    return NULL;
}

/* The place of the one that the name has not had for the longest time; NULL when all are in use. */
static struct address *free_place(struct addresses *addresses, uint64_t now_ns)
{
    struct address *oldest = NULL;

    for (size_t i = 0; i < ADDRESSES_MAX; i++) {
        struct address *address = &addresses->all[i];
        if (address->in_flight > 0 || address->listed_ns >= now_ns || address->is_ejected)
            continue;
        if (!oldest || address->listed_ns < oldest->listed_ns)
            oldest = address;
    }
    return oldest;
}

static struct address *find_or_add(struct addresses *addresses, const char *text, uint64_t now_ns)
{
    struct address *address = find(addresses, text);

    if (!address && (address = free_place(addresses, now_ns))) {
        uint64_t slot_ns = address->window.slot_ns;
        *address = (struct address){.window = {.slot_ns = slot_ns}};
        snprintf(address->text, sizeof(address->text), "%s", text);
    }
    if (address)
        address->listed_ns = now_ns;
    return address;
}

static bool is_listed(const struct addresses *addresses, const struct address *address)
{
    return address->text[0] != '\0' && address->listed_ns == addresses->listed_ns;
}

static void let_back(struct addresses *addresses, uint64_t now_ns)
{
    for (size_t i = 0; i < ADDRESSES_MAX; i++) {
        struct address *address = &addresses->all[i];
        if (!address->is_ejected || now_ns < address->ejected_until_ns)
            continue;
        address->is_ejected = false;
        metric_add(&rows[ROW_EJECTED], addresses->label, 0, -1);
    }
}

/* ---- choosing ---- */

/* Those with indexes in `ret` may be asked: neither ejected nor to be avoided, if there are such. */
static size_t list_candidates(struct address *const *listed, const struct policy_choice *choice,
                              size_t ret[ADDRESSES_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < choice->count; i++)
        if (!listed[i]->is_ejected && strcmp(listed[i]->text, choice->avoid) != 0)
            ret[count++] = i;
    for (size_t i = 0; i < choice->count && count == 0; i++)
        if (!listed[i]->is_ejected)
            ret[count++] = i;
    for (size_t i = 0; i < choice->count && count == 0; i++)
        ret[count++] = i;
    return count;
}

static size_t choose_among(struct addresses *addresses, struct address *const *listed,
                           const struct policy_choice *choice)
{
    size_t candidates[ADDRESSES_MAX];
    size_t count = list_candidates(listed, choice, candidates);
    uint64_t random = policy_random(&addresses->random);
    size_t first = (size_t)(random >> 32) % count;
    size_t second = count > 1 ? (first + 1 + (size_t)(random & UINT32_MAX) % (count - 1)) % count : first;

    if (listed[candidates[second]]->in_flight < listed[candidates[first]]->in_flight)
        first = second;
    return candidates[first];
}

static size_t choose(void *state, const struct policy_choice *choice)
{
    struct addresses *addresses = state;
    struct address *listed[ADDRESSES_MAX];

    let_back(addresses, choice->now_ns);
    if (choice->count == 0 || choice->count > ADDRESSES_MAX)
        return 0;
    for (size_t i = 0; i < choice->count; i++)
        if (!(listed[i] = find_or_add(addresses, choice->addresses[i], choice->now_ns)))
            return 0;
    addresses->listed_ns = choice->now_ns;
    addresses->listed_count = choice->count;
    size_t index = choose_among(addresses, listed, choice);
    listed[index]->in_flight++;
    return index;
}

/* ---- learning ---- */

static uint64_t ejection_ms(const struct addresses *addresses, unsigned ejections)
{
    uint64_t ms = addresses->config->breaker.open_ms;

    while (ejections-- > 0 && ms < EJECTED_MAX_MS)
        ms *= 2;
    return MIN(ms, EJECTED_MAX_MS);
}

static bool may_eject_another(const struct addresses *addresses)
{
    size_t ejected = 0;

    for (size_t i = 0; i < ADDRESSES_MAX; i++)
        ejected += addresses->all[i].is_ejected && is_listed(addresses, &addresses->all[i]);
    return ejected + 1 <= addresses->listed_count / 2;
}

static bool is_failing(const struct addresses *addresses, struct address *address, uint64_t now_ns)
{
    uint32_t calls = window_sum(&address->window, now_ns, WINDOW_CALLS);
    uint32_t failures = window_sum(&address->window, now_ns, WINDOW_FAILURES);

    return address->failures_in_a_row >= FAILURES_IN_A_ROW ||
           (calls >= addresses->config->breaker.min_requests && failures > 0 &&
            (double)failures >= addresses->config->breaker.failure_ratio * calls);
}

/* When it comes back, its first failure ejects it again. */
static void eject(struct addresses *addresses, struct address *address, uint64_t now_ns)
{
    address->is_ejected = true;
    address->ejected_until_ns = clock_deadline_ns(now_ns, ejection_ms(addresses, address->ejections));
    address->ejections++;
    address->failures_in_a_row = FAILURES_IN_A_ROW - 1;
    window_clear(&address->window);
    metric_add(&rows[ROW_EJECTED], addresses->label, 0, 1);
    metric_add(&rows[ROW_EJECTIONS], addresses->label, 0, 1);
}

static void forgive(const struct addresses *addresses, struct address *address, uint64_t now_ns)
{
    address->failures_in_a_row = 0;
    if (address->ejections > 0 && now_ns >= clock_deadline_ns(address->ejected_until_ns,
                                                              ejection_ms(addresses, address->ejections - 1)))
        address->ejections = 0;
}

static const char *note(struct addresses *addresses, struct address *address, uint64_t now_ns,
                        enum policy_health health)
{
    if (!address || health == HEALTH_UNKNOWN || address->is_ejected)
        return NULL;
    address->calls_total++;
    window_add(&address->window, now_ns, WINDOW_CALLS, 1);
    if (health == HEALTH_GOOD) {
        forgive(addresses, address, now_ns);
        return NULL;
    }
    address->failures_total++;
    address->failures_in_a_row++;
    window_add(&address->window, now_ns, WINDOW_FAILURES, 1);
    if (!addresses->config->breaker.is_enabled || !is_failing(addresses, address, now_ns) ||
        !may_eject_another(addresses))
        return NULL;
    eject(addresses, address, now_ns);
    return "address ejected";
}

static const char *ended(void *state, const struct policy_end *end, uint64_t mark)
{
    struct addresses *addresses = state;
    struct address *chosen = find(addresses, end->chosen);
    /* One that hangs would never be noticed when all that it gets is overtaken and cancelled. */
    enum policy_health health = end->is_overtaken ? HEALTH_BAD : end->health;

    (void)mark;
    if (!chosen)
        return NULL;
    chosen->in_flight--;
    let_back(addresses, end->now_ns);
    if (end->address[0] == '\0' || strcmp(end->address, end->chosen) == 0)
        return note(addresses, chosen, end->now_ns, health);
    /* Another one had to stand in for it. */
    const char *text = note(addresses, find(addresses, end->address), end->now_ns, health);
    const char *chosen_text = note(addresses, chosen, end->now_ns, HEALTH_BAD);
    return chosen_text ? chosen_text : text;
}

static void append_json(void *state, uint64_t now_ns, struct buf *out)
{
    struct addresses *addresses = state;
    const char *separator = "";

    let_back(addresses, now_ns);
    buf_append_str(out, "[");
    for (size_t i = 0; i < ADDRESSES_MAX; i++) {
        const struct address *address = &addresses->all[i];
        if (!is_listed(addresses, address))
            continue;
        buf_printf(out, "%s{\"address\":", separator);
        json_append_string(out, address->text, strlen(address->text));
        buf_printf(out, ",\"in_flight\":%u,\"calls_total\":%llu,\"failures_total\":%llu,\"ejected\":%s",
                   address->in_flight, (unsigned long long)address->calls_total,
                   (unsigned long long)address->failures_total, address->is_ejected ? "true" : "false");
        if (address->is_ejected)
            buf_printf(out, ",\"ejected_for\":%.3f", clock_seconds(address->ejected_until_ns - now_ns));
        buf_append_str(out, "}");
        separator = ",";
    }
    buf_append_str(out, "]");
}

const struct upstream_policy policy_addresses = {
    .name = "addresses",
    .state_size = sizeof(struct addresses),
    .is_on = is_on,
    .init = init,
    .ended = ended,
    .choose = choose,
    .append_json = append_json,
    .metrics = rows,
    .metric_count = ARRAY_LEN(rows),
};
