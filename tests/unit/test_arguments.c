#include "harness.h"

#include <math.h>

#include "base/json.h"
#include "gather/arguments.h"

/* ---- a request ---- */

struct request {
    const char *path_args[3];
    const char *query;
    const char *headers[7]; /* names and values */
    const char *body;
    size_t body_size;
    unsigned questions;
};

static const char *path_arg(void *arg, size_t i)
{
    struct request *req = arg;

    req->questions++;
    return req->path_args[i];
}

static const char *query(void *arg)
{
    struct request *req = arg;

    req->questions++;
    return req->query;
}

static const char *header(void *arg, const char *name)
{
    struct request *req = arg;

    req->questions++;
    for (size_t i = 0; req->headers[i]; i += 2)
        if (strcasecmp(req->headers[i], name) == 0)
            return req->headers[i + 1];
    return NULL;
}

static const char *body(void *arg, size_t *ret_size)
{
    struct request *req = arg;

    req->questions++;
    *ret_size = req->body_size ? req->body_size : req->body ? strlen(req->body) : 0;
    return req->body ? req->body : "";
}

static struct request json_request(const char *text)
{
    return (struct request){.headers = {"content-type", "application/json; charset=utf-8"}, .body = text};
}

/* ---- an endpoint: a template with its places, and rows ---- */

struct fixture {
    struct template *template;
    const struct template_place *places[TEMPLATE_PLACES_MAX];
    struct config_param params[4];
    struct config_endpoint endpoint;
    struct arguments_rules *rules;
    struct arguments *arguments;
};

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text; /* the configuration's strings are not const */
}

static struct config_param row(const char *name, enum config_param_type type)
{
    return (struct config_param){.name = text_of(name),
                                 .type = type,
                                 .pattern = text_of(""),
                                 .min = -INFINITY,
                                 .max = INFINITY,
                                 .max_length = 1024};
}

static int try_setup(struct fixture *fixture, const char *template, const struct config_param *params,
                     size_t param_count, struct err *err)
{
    *fixture = (struct fixture){.endpoint = {.path = text_of("/a/{id}/b/{other}/{id2}")}};
    assert_int_equal(template_parse(template, &fixture->template, NULL), 0);
    for (size_t i = 0; i < template_place_count(fixture->template); i++)
        fixture->places[i] = template_place(fixture->template, i);
    for (size_t i = 0; i < param_count; i++)
        fixture->params[i] = params[i];
    fixture->endpoint.params = fixture->params;
    fixture->endpoint.param_count = param_count;
    return arguments_rules_create(&fixture->endpoint, fixture->places,
                                  template_place_count(fixture->template), &fixture->rules, err);
}

static void set_up(struct fixture *fixture, const char *template, const struct config_param *params,
                   size_t count)
{
    struct err err = {0};

    if (try_setup(fixture, template, params, count, &err) < 0)
        fail_msg("%s: %s", template, err.text);
}

static void tear_down(struct fixture *fixture)
{
    arguments_free(fixture->arguments);
    arguments_rules_free(fixture->rules);
    template_free(fixture->template);
}

static int read_request(const struct fixture *fixture, struct request *req, struct arguments **ret,
                        struct arguments_problem *ret_problem)
{
    struct request_reader reader = {
        .arg = req, .path_arg = path_arg, .query = query, .header = header, .body = body};

    return arguments_create(fixture->rules, &reader, ret, ret_problem);
}

static void take(struct fixture *fixture, struct request req)
{
    struct arguments_problem problem = {0};

    arguments_free(fixture->arguments);
    fixture->arguments = NULL;
    if (read_request(fixture, &req, &fixture->arguments, &problem) < 0)
        fail_msg("%d %s: %s", problem.status, problem.name, problem.text);
}

static void assert_refused(const struct fixture *fixture, struct request req, int status, const char *name,
                           const char *text)
{
    struct arguments_problem problem = {0};
    struct arguments *arguments = NULL;

    assert_int_equal(read_request(fixture, &req, &arguments, &problem), -1);
    assert_null(arguments);
    assert_string_equal(problem.text, text);
    assert_int_equal(problem.status, status);
    assert_string_equal(problem.name, name);
}

/* The value of the i-th place as JSON text; "" for none. */
static void assert_value(const struct fixture *fixture, size_t i, const char *expected)
{
    struct buf text = BUF_INIT(4096);
    const json_t *value = arguments_lookup(fixture->arguments, fixture->places[i]);

    if (value)
        json_dump((json_t *)(uintptr_t)value, &text);
    buf_append(&text, "", 1);
    assert_string_equal(text.data, expected);
    buf_done(&text);
}

/* ---- where values come from ---- */

static void values_come_from_the_path_the_query_headers_and_the_body(void **state)
{
    struct fixture fixture;
    struct request req = json_request("{\"a\": {\"b\": [1, 2.5, null]}}");
    (void)state;

    set_up(&fixture, "{id2}{id}{query.q}{header.X-Tenant}{body./a/b/1}{body.}{query.none:}{profile./x}", NULL,
           0);
    req.path_args[0] = "one";
    req.path_args[2] = "three";
    req.query = "x=1&q=a%26b+c";
    req.headers[2] = "x-tenant";
    req.headers[3] = "t 1";
    take(&fixture, req);
    assert_value(&fixture, 0, "\"three\"");
    assert_value(&fixture, 1, "\"one\"");
    assert_value(&fixture, 2, "\"a&b c\"");
    assert_value(&fixture, 3, "\"t 1\"");
    assert_value(&fixture, 4, "2.5");
    assert_value(&fixture, 5, "{\"a\":{\"b\":[1,2.5,null]}}");
    assert_value(&fixture, 6, "");
    assert_value(&fixture, 7, ""); /* what a part brings is no argument */
    tear_down(&fixture);
}

static void a_request_that_nothing_is_taken_from_is_not_looked_at(void **state)
{
    struct fixture fixture;
    struct request req = {.query = "%", .body = "{", .headers = {"Content-Type", "text/plain"}};
    struct arguments_problem problem = {0};
    (void)state;

    set_up(&fixture, "/constant/{part./x}", NULL, 0);
    assert_int_equal(read_request(&fixture, &req, &fixture.arguments, &problem), 0);
    assert_int_equal(req.questions, 0);
    tear_down(&fixture);
    set_up(&fixture, "{query.a:}", NULL, 0);
    assert_int_equal(read_request(&fixture, &req, &fixture.arguments, &problem), 0);
    assert_int_equal(req.questions, 1); /* and of the rest only what is needed */
    tear_down(&fixture);
}

static void many_values_are_told_apart(void **state)
{
    struct buf template = BUF_INIT(4096);
    struct buf text = BUF_INIT(4096);
    struct fixture fixture;
    (void)state;

    for (unsigned i = 0; i < TEMPLATE_PLACES_MAX; i++) {
        buf_printf(&template, "{query.q%u}", i * 37 % 64);
        buf_printf(&text, "q%u=%u&", i, i);
    }
    buf_append(&template, "", 1);
    buf_append(&text, "", 1);
    set_up(&fixture, template.data, NULL, 0);
    take(&fixture, (struct request){.query = text.data});
    for (unsigned i = 0; i < TEMPLATE_PLACES_MAX; i++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "\"%u\"", i * 37 % 64);
        assert_value(&fixture, i, expected);
    }
    tear_down(&fixture);
    buf_done(&template);
    buf_done(&text);
}

/* ---- types ---- */

static void texts_become_what_their_row_says(void **state)
{
    static const struct {
        enum config_param_type type;
        const char *query;
        const char *value;
    } cases[] = {
        {PARAM_STRING, "q=12", "\"12\""},
        {PARAM_STRING, "q=", "\"\""},
        {PARAM_STRING, "q=%C3%A4", "\"\xc3\xa4\""},
        {PARAM_INTEGER, "q=-12", "-12"},
        {PARAM_INTEGER, "q=0", "0"},
        {PARAM_INTEGER, "q=9223372036854775807", "9223372036854775807"},
        {PARAM_NUMBER, "q=1.50", "1.5"},
        {PARAM_NUMBER, "q=-3", "-3"},
        {PARAM_NUMBER, "q=1e3", "1000.0"},
        {PARAM_BOOLEAN, "q=true", "true"},
        {PARAM_BOOLEAN, "q=false", "false"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_param param = row("query.q", cases[i].type);
        struct fixture fixture;
        set_up(&fixture, "{query.q}", &param, 1);
        take(&fixture, (struct request){.query = cases[i].query});
        assert_value(&fixture, 0, cases[i].value);
        tear_down(&fixture);
    }
}

static void texts_of_another_type_are_refused(void **state)
{
    static const struct {
        enum config_param_type type;
        const char *query;
        const char *text;
    } cases[] = {
        {PARAM_STRING, "q=%FF", "the query parameter q is not well encoded"},
        {PARAM_STRING, "q=%zz", "the query parameter q is not well encoded"},
        {PARAM_STRING, "q=%00", "the query parameter q is not well encoded"},
        {PARAM_STRING, "q=1&q=2", "the query parameter q is given twice"},
        {PARAM_INTEGER, "q=", "query.q must be an integer"},
        {PARAM_INTEGER, "q", "query.q must be an integer"},
        {PARAM_INTEGER, "q=+1", "query.q must be an integer"},
        {PARAM_INTEGER, "q=%2B1", "query.q must be an integer"},
        {PARAM_INTEGER, "q=1.0", "query.q must be an integer"},
        {PARAM_INTEGER, "q=1e3", "query.q must be an integer"},
        {PARAM_INTEGER, "q=01", "query.q must be an integer"},
        {PARAM_INTEGER, "q=0x10", "query.q must be an integer"},
        {PARAM_INTEGER, "q=1+", "query.q must be an integer"},
        {PARAM_INTEGER, "q=1%0a", "query.q must be an integer"},
        {PARAM_INTEGER, "q=-", "query.q must be an integer"},
        {PARAM_INTEGER, "q=9223372036854775808", "query.q must be an integer"},
        {PARAM_INTEGER, "q=true", "query.q must be an integer"},
        {PARAM_NUMBER, "q=1.", "query.q must be a number"},
        {PARAM_NUMBER, "q=.5", "query.q must be a number"},
        {PARAM_NUMBER, "q=nan", "query.q must be a number"},
        {PARAM_NUMBER, "q=Infinity", "query.q must be a number"},
        {PARAM_NUMBER, "q=1e999", "query.q must be a number"},
        {PARAM_NUMBER, "q=1,5", "query.q must be a number"},
        {PARAM_NUMBER, "q=[1,2", "query.q must be a number"},
        {PARAM_BOOLEAN, "q=1", "query.q must be true or false"},
        {PARAM_BOOLEAN, "q=True", "query.q must be true or false"},
        {PARAM_BOOLEAN, "q=", "query.q must be true or false"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_param param = row("query.q", cases[i].type);
        struct fixture fixture;
        set_up(&fixture, "{query.q}", &param, 1);
        assert_refused(&fixture, (struct request){.query = cases[i].query}, 422, "query.q", cases[i].text);
        tear_down(&fixture);
    }
}

static void texts_that_are_no_utf8_are_refused(void **state)
{
    struct fixture fixture;
    (void)state;

    set_up(&fixture, "{id:}{header.A:}", NULL, 0);
    assert_refused(&fixture, (struct request){.path_args = {"\xff"}}, 422, "id", "id is not valid UTF-8");
    assert_refused(&fixture, (struct request){.path_args = {"x"}, .headers = {"A", "\xe4"}}, 422, "header.A",
                   "header.A is not valid UTF-8");
    tear_down(&fixture);
}

static void values_of_the_body_must_have_the_type_of_their_row(void **state)
{
    static const struct {
        enum config_param_type type;
        const char *body;
        const char *text; /* NULL: it is taken */
    } cases[] = {
        {PARAM_STRING, "{\"a\": \"x\"}", NULL},
        {PARAM_STRING, "{\"a\": 1}", "body./a must be a string"},
        {PARAM_STRING, "{\"a\": {}}", "body./a must be a string"},
        {PARAM_STRING, "{\"a\": null}", "body./a is missing"},
        {PARAM_STRING, "{}", "body./a is missing"},
        {PARAM_INTEGER, "{\"a\": 1}", NULL},
        {PARAM_INTEGER, "{\"a\": 1.0}", "body./a must be an integer"},
        {PARAM_INTEGER, "{\"a\": \"1\"}", "body./a must be an integer"},
        {PARAM_NUMBER, "{\"a\": 1}", NULL},
        {PARAM_NUMBER, "{\"a\": 1.5}", NULL},
        {PARAM_NUMBER, "{\"a\": [1]}", "body./a must be a number"},
        {PARAM_BOOLEAN, "{\"a\": true}", NULL},
        {PARAM_BOOLEAN, "{\"a\": 0}", "body./a must be true or false"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_param param = row("body./a", cases[i].type);
        struct fixture fixture;
        set_up(&fixture, "{body./a}", &param, 1);
        if (cases[i].text)
            assert_refused(&fixture, json_request(cases[i].body), 422, "body./a", cases[i].text);
        else
            take(&fixture, json_request(cases[i].body));
        tear_down(&fixture);
    }
}

static void a_null_of_the_body_without_a_row_is_a_value(void **state)
{
    struct fixture fixture;
    (void)state;

    set_up(&fixture, "{body./a}", NULL, 0);
    take(&fixture, json_request("{\"a\": null}"));
    assert_value(&fixture, 0, "null");
    tear_down(&fixture);
}

/* ---- limits and patterns ---- */

static void numbers_have_limits(void **state)
{
    struct config_param params[2] = {row("query.q", PARAM_INTEGER), row("body./n", PARAM_NUMBER)};
    struct fixture fixture;
    struct request req = json_request("{\"n\": 0.5}");
    (void)state;

    params[0].min = 1;
    params[0].max = 100;
    params[1].max = 0.5;
    set_up(&fixture, "{query.q}{body./n}", params, 2);
    req.query = "q=1";
    take(&fixture, req);
    req.query = "q=100";
    take(&fixture, req);
    req.query = "q=0";
    assert_refused(&fixture, req, 422, "query.q", "query.q must be at least 1");
    req.query = "q=101";
    assert_refused(&fixture, req, 422, "query.q", "query.q must be at most 100");
    req.query = "q=1";
    req.body = "{\"n\": 0.51}";
    assert_refused(&fixture, req, 422, "body./n", "body./n must be at most 0.5");
    tear_down(&fixture);
}

static void strings_have_a_greatest_length(void **state)
{
    struct config_param param = row("query.q", PARAM_STRING);
    struct fixture fixture;
    (void)state;

    param.max_length = 3;
    set_up(&fixture, "{query.q}", &param, 1);
    take(&fixture, (struct request){.query = "q=%C3%A4b"});
    assert_refused(&fixture, (struct request){.query = "q=%C3%A4bc"}, 422, "query.q",
                   "query.q must have at most 3 bytes");
    tear_down(&fixture);
}

static void all_of_a_value_must_match_its_pattern(void **state)
{
    static const struct {
        const char *pattern;
        const char *query;
        bool matches;
    } cases[] = {
        {"[a-z]{3}", "q=abc", true},   {"[a-z]{3}", "q=abcd", false}, {"[a-z]{3}", "q=1abc", false},
        {"a|bc", "q=a", true},         {"a|bc", "q=abc", false},      {"a|bc", "q=ac", false},
        {"[a-z]+", "q=abc%0a", false}, {"[a-z]+", "q=", false},       {"a*", "q=", true},
        {"^a$", "q=a", true},          {"a.c", "q=a%0ac", true},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_param param = row("query.q", PARAM_STRING);
        struct fixture fixture;
        param.pattern = text_of(cases[i].pattern);
        set_up(&fixture, "{query.q}", &param, 1);
        if (cases[i].matches)
            take(&fixture, (struct request){.query = cases[i].query});
        else
            assert_refused(&fixture, (struct request){.query = cases[i].query}, 422, "query.q",
                           "query.q does not match its pattern");
        tear_down(&fixture);
    }
}

static void patterns_are_for_numbers_as_well(void **state)
{
    struct config_param params[2] = {row("id", PARAM_INTEGER), row("body./n", PARAM_INTEGER)};
    struct fixture fixture;
    struct request req = json_request("{\"n\": 12}");
    (void)state;

    params[0].pattern = params[1].pattern = text_of("[1-9][0-9]");
    set_up(&fixture, "{id}{body./n}", params, 2);
    req.path_args[0] = "34";
    take(&fixture, req);
    assert_value(&fixture, 0, "34");
    assert_value(&fixture, 1, "12");
    req.body = "{\"n\": 123}";
    assert_refused(&fixture, req, 422, "body./n", "body./n does not match its pattern");
    req.body = "{\"n\": \"12\"}";
    assert_refused(&fixture, req, 422, "body./n", "body./n must be an integer");
    req.path_args[0] = "3";
    assert_refused(&fixture, req, 422, "body./n", "body./n must be an integer");
    tear_down(&fixture);
}

/* ---- what is missing ---- */

static void a_value_that_is_missing_is_named(void **state)
{
    struct fixture fixture;
    struct request req = json_request("{\"a\": 1}");
    (void)state;

    set_up(&fixture, "{query.q}", NULL, 0);
    assert_refused(&fixture, (struct request){0}, 422, "query.q", "query.q is missing");
    assert_refused(&fixture, (struct request){.query = "Q=1&qq=2&=3"}, 422, "query.q", "query.q is missing");
    tear_down(&fixture);
    set_up(&fixture, "{header.X-A}", NULL, 0);
    assert_refused(&fixture, (struct request){.headers = {"X-B", "1"}}, 422, "header.X-A",
                   "header.X-A is missing");
    tear_down(&fixture);
    set_up(&fixture, "{body./b}", NULL, 0);
    assert_refused(&fixture, req, 422, "body./b", "body./b is missing");
    tear_down(&fixture);
}

static void it_may_be_missing_when_each_placeholder_has_a_default(void **state)
{
    struct fixture fixture;
    (void)state;

    set_up(&fixture, "{query.q:1}{query.q:2}", NULL, 0);
    take(&fixture, (struct request){0});
    assert_value(&fixture, 0, "");
    tear_down(&fixture);
    set_up(&fixture, "{query.q:1}{query.q}", NULL, 0);
    assert_refused(&fixture, (struct request){0}, 422, "query.q", "query.q is missing");
    tear_down(&fixture);
    set_up(&fixture, "{query.q}{query.q:1}", NULL, 0);
    assert_refused(&fixture, (struct request){0}, 422, "query.q", "query.q is missing");
    tear_down(&fixture);
}

static void a_row_may_give_the_default(void **state)
{
    struct config_param params[2] = {row("query.q", PARAM_INTEGER), row("body./a", PARAM_STRING)};
    struct fixture fixture;
    (void)state;

    params[0].default_text = text_of("10");
    params[1].default_text = text_of("");
    set_up(&fixture, "{query.q}{query.q:1}{body./a}", params, 2);
    take(&fixture, (struct request){0});
    assert_value(&fixture, 0, "10");
    assert_value(&fixture, 1, "10"); /* it counts before that of a placeholder */
    assert_value(&fixture, 2, "\"\"");
    take(&fixture, json_request("{\"a\": null}"));
    assert_value(&fixture, 2, "\"\"");
    take(&fixture, (struct request){.query = "q=11"});
    assert_value(&fixture, 0, "11");
    tear_down(&fixture);
}

static void a_row_without_a_placeholder_must_be_given(void **state)
{
    struct config_param param = row("query.q", PARAM_INTEGER);
    struct fixture fixture;
    (void)state;

    set_up(&fixture, "/x", &param, 1);
    assert_refused(&fixture, (struct request){0}, 422, "query.q", "query.q is missing");
    tear_down(&fixture);
    set_up(&fixture, "{query.q:}", &param, 1);
    take(&fixture, (struct request){0});
    assert_refused(&fixture, (struct request){.query = "q=x"}, 422, "query.q", "query.q must be an integer");
    tear_down(&fixture);
}

static void headers_are_the_same_in_any_case(void **state)
{
    struct config_param param = row("header.X-TENANT", PARAM_INTEGER);
    struct fixture fixture;
    (void)state;

    set_up(&fixture, "{header.x-tenant:}", &param, 1);
    assert_refused(&fixture, (struct request){.headers = {"X-Tenant", "a"}}, 422, "header.X-TENANT",
                   "header.X-TENANT must be an integer");
    take(&fixture, (struct request){.headers = {"X-Tenant", "7"}});
    assert_value(&fixture, 0, "7");
    tear_down(&fixture);
}

/* ---- the body ---- */

static void a_body_that_is_no_json_is_refused(void **state)
{
    struct fixture fixture;
    (void)state;

    set_up(&fixture, "{body./a:}", NULL, 0);
    assert_refused(&fixture, json_request("{\"a\""), 400, "",
                   "line 1, column 5 (byte 4): ':' expected near end of file");
    assert_refused(
        &fixture, json_request("7"), 400, "",
        "line 1, column 1 (byte 0): a JSON object or array is expected, it begins with '{' or '['");
    assert_refused(&fixture, json_request("{\"a\": 1, \"a\": 2}"), 400, "",
                   "line 1, column 13 (byte 12): duplicate object key near '\"a\"'");
    assert_refused(&fixture, json_request("{\"a\": 1e999}"), 422, "",
                   "line 1, column 12 (byte 11): a must be a finite number, this one is too large");
    tear_down(&fixture);
}

static void a_body_of_another_type_is_refused(void **state)
{
    static const char *const types[] = {"text/plain", "application/x-www-form-urlencoded", ""};
    struct fixture fixture;
    (void)state;

    set_up(&fixture, "{body./a:}", NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        assert_refused(&fixture, (struct request){.headers = {"Content-Type", types[i]}, .body = "{}"}, 415,
                       "", "the body must be JSON, with Content-Type: application/json");
    assert_refused(&fixture, (struct request){.body = "{}"}, 415, "",
                   "the body must be JSON, with Content-Type: application/json");
    take(&fixture,
         (struct request){.headers = {"Content-Type", "application/merge-patch+json"}, .body = "{}"});
    tear_down(&fixture);
}

static void no_body_is_no_values(void **state)
{
    struct fixture fixture;
    (void)state;

    set_up(&fixture, "{body./a:1}", NULL, 0);
    take(&fixture, (struct request){0});
    assert_value(&fixture, 0, "");
    tear_down(&fixture);
    set_up(&fixture, "{body.}", NULL, 0);
    assert_refused(&fixture, (struct request){0}, 422, "body.", "body. is missing");
    tear_down(&fixture);
}

/* ---- rules ---- */

static void rows_that_cannot_be_are_refused(void **state)
{
    struct config_param params[2] = {row("query.q", PARAM_INTEGER), row("query.q", PARAM_INTEGER)};
    struct fixture fixture;
    struct err err = {0};
    (void)state;

    assert_int_equal(try_setup(&fixture, "/x", params, 2, &err), -EINVAL);
    tear_down(&fixture);
    params[0].default_text = text_of("x");
    assert_int_equal(try_setup(&fixture, "/x", params, 1, &err), -EINVAL);
    assert_string_equal(err.text, "query.q must be an integer");
    tear_down(&fixture);
    params[0] = row("query.q", PARAM_STRING);
    params[0].pattern = text_of("(");
    assert_int_equal(try_setup(&fixture, "/x", params, 1, &err), -EINVAL);
    tear_down(&fixture);
    params[0] = row("profile./x", PARAM_STRING);
    assert_int_equal(try_setup(&fixture, "/x", params, 1, &err), -EINVAL);
    tear_down(&fixture);
    params[0] = row("i", PARAM_STRING);
    assert_int_equal(try_setup(&fixture, "/x", params, 1, &err), -EINVAL);
    assert_string_equal(err.text, "the path /a/{id}/b/{other}/{id2} has no parameter i");
    tear_down(&fixture);
    assert_int_equal(try_setup(&fixture, "{nobody}", NULL, 0, &err), -EINVAL);
    tear_down(&fixture);
}

/* ---- by many at once ---- */

static void *read_many(void *arg)
{
    struct fixture *shared = arg;
    struct request req = json_request("{\"a\": \"xyz\"}");

    req.query = "q=abc";
    for (unsigned i = 0; i < 500; i++) {
        struct fixture own = *shared;
        take(&own, req);
        assert_value(&own, 0, "\"abc\"");
        assert_value(&own, 1, "5");
        assert_value(&own, 2, "\"xyz\"");
        arguments_free(own.arguments);
    }
    return NULL;
}

static void rules_serve_many_threads(void **state)
{
    struct config_param params[2] = {row("query.q", PARAM_STRING), row("query.n", PARAM_INTEGER)};
    struct fixture fixture;
    pthread_t threads[3];
    (void)state;

    params[0].pattern = text_of("[a-z]+");
    params[1].default_text = text_of("5");
    set_up(&fixture, "{query.q}{query.n}{body./a}", params, 2);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        start(&threads[i], read_many, &fixture);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        thread_join(threads[i]);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_from_the_path_the_query_headers_and_the_body),
        cmocka_unit_test(a_request_that_nothing_is_taken_from_is_not_looked_at),
        cmocka_unit_test(many_values_are_told_apart),
        cmocka_unit_test(texts_become_what_their_row_says),
        cmocka_unit_test(texts_of_another_type_are_refused),
        cmocka_unit_test(texts_that_are_no_utf8_are_refused),
        cmocka_unit_test(values_of_the_body_must_have_the_type_of_their_row),
        cmocka_unit_test(a_null_of_the_body_without_a_row_is_a_value),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(strings_have_a_greatest_length),
        cmocka_unit_test(all_of_a_value_must_match_its_pattern),
        cmocka_unit_test(patterns_are_for_numbers_as_well),
        cmocka_unit_test(a_value_that_is_missing_is_named),
        cmocka_unit_test(it_may_be_missing_when_each_placeholder_has_a_default),
        cmocka_unit_test(a_row_may_give_the_default),
        cmocka_unit_test(a_row_without_a_placeholder_must_be_given),
        cmocka_unit_test(headers_are_the_same_in_any_case),
        cmocka_unit_test(a_body_that_is_no_json_is_refused),
        cmocka_unit_test(a_body_of_another_type_is_refused),
        cmocka_unit_test(no_body_is_no_values),
        cmocka_unit_test(rows_that_cannot_be_are_refused),
        cmocka_unit_test(rules_serve_many_threads),
    };

    return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
