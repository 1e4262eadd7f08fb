#include "harness.h"

#include "base/json.h"
#include "base/template.h"

/* Values by the source as it is written, from a JSON object. */
static const json_t *lookup(const struct template_place *place, void *arg)
{
    return json_object_get(arg, place->text);
}

static json_t *values_of(const char *text)
{
    json_t *values = json_loads(text, 0, NULL);

    assert_non_null(values);
    return values;
}

static struct template *parse(const char *text)
{
    struct template *template = NULL;
    struct err err = {0};

    if (template_parse(text, &template, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return template;
}

static int try_render(const char *text, enum template_use use, const char *values_text, struct buf *out,
                      struct err *err)
{
    struct template *template = parse(text);
    json_t *values = values_of(values_text);

    int rc = template_render(template, use, lookup, values, out, err);
    json_decref(values);
    template_free(template);
    return rc;
}

static void assert_rendered(const char *text, enum template_use use, const char *values, const char *expected)
{
    struct buf out = BUF_INIT(65536);
    struct err err = {0};

    if (try_render(text, use, values, &out, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    buf_append(&out, "", 1);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

static void assert_refused(const char *text, enum template_use use, const char *values, const char *expected)
{
    struct buf out = BUF_INIT(65536);
    struct err err = {0};

    buf_append_str(&out, "before");
    assert_int_equal(try_render(text, use, values, &out, &err), -EINVAL);
    assert_string_equal(err.text, expected);
    assert_int_equal(out.size, strlen("before"));
    assert_false(out.failed);
    buf_done(&out);
}

/* ---- parsing ---- */

static void assert_place(const struct template_place *place, enum template_source source, const char *text,
                         const char *name, const char *pointer, const char *fallback)
{
    assert_int_equal(place->source, source);
    assert_string_equal(place->text, text);
    assert_string_equal(place->name, name);
    assert_int_equal(place->pointer == NULL, pointer == NULL);
    if (pointer)
        assert_string_equal(place->pointer, pointer);
    assert_int_equal(place->fallback == NULL, fallback == NULL);
    if (fallback)
        assert_string_equal(place->fallback, fallback);
}

static void each_source_is_read(void **state)
{
    struct template *template = parse("/{id}/{query.li mit:10}{header.X-Tenant:}x{body./customer/id}{body.}"
                                      "{profile./data/account:a:b}{a-1.}");
    (void)state;

    assert_int_equal(template_place_count(template), 7);
    assert_place(template_place(template, 0), TEMPLATE_PATH, "id", "id", NULL, NULL);
    assert_place(template_place(template, 1), TEMPLATE_QUERY, "query.li mit", "li mit", NULL, "10");
    assert_place(template_place(template, 2), TEMPLATE_HEADER, "header.X-Tenant", "X-Tenant", NULL, "");
    assert_place(template_place(template, 3), TEMPLATE_BODY, "body./customer/id", "", "/customer/id", NULL);
    assert_place(template_place(template, 4), TEMPLATE_BODY, "body.", "", "", NULL);
    assert_place(template_place(template, 5), TEMPLATE_PART, "profile./data/account", "profile",
                 "/data/account", "a:b");
    assert_place(template_place(template, 6), TEMPLATE_PART, "a-1.", "a-1", "", NULL);
    assert_null(template_constant(template));
    assert_false(template_is_single(template));
    template_free(template);
}

static void texts_without_places_are_constant(void **state)
{
    static const struct {
        const char *text;
        const char *constant;
    } cases[] = {{"", ""}, {"/users", "/users"}, {"{{id}}", "{id}"}, {"}}{{", "}{"}, {"{{{{a", "{{a"}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct template *template = parse(cases[i].text);
        assert_string_equal(template_constant(template), cases[i].constant);
        assert_int_equal(template_place_count(template), 0);
        assert_false(template_is_single(template));
        template_free(template);
    }
}

static void a_place_alone_is_single(void **state)
{
    static const struct {
        const char *text;
        bool is_single;
    } cases[] = {{"{id}", true}, {"{id:1}", true}, {"{id} ", false}, {" {id}", false}, {"{id}{id}", false}};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct template *template = parse(cases[i].text);
        assert_int_equal(template_is_single(template), cases[i].is_single);
        template_free(template);
    }
}

static void malformed_templates_are_refused_with_their_place(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"/a/{", "column 4: the brace is not closed; write {{ for a brace"},
        {"/a/{id", "column 4: the brace is not closed; write {{ for a brace"},
        {"\xc3\xa4}", "column 2: there is no { before this }; write }} for a brace"},
        {"{id}}", "column 5: there is no { before this }; write }} for a brace"},
        {"{a{b}}", "column 1: there is a brace in a placeholder; write {{ for a brace"},
        {"{}",
         "column 2: a placeholder is {id}, {query.NAME}, {header.NAME}, {body./POINTER} or {PART./POINTER}"},
        {"{:1}",
         "column 2: a placeholder is {id}, {query.NAME}, {header.NAME}, {body./POINTER} or {PART./POINTER}"},
        {"{ id}",
         "column 2: a placeholder is {id}, {query.NAME}, {header.NAME}, {body./POINTER} or {PART./POINTER}"},
        {"{1d}",
         "column 2: a placeholder is {id}, {query.NAME}, {header.NAME}, {body./POINTER} or {PART./POINTER}"},
        {"{query.}", "column 2: the name of a query parameter has 1 to 63 bytes"},
        {"{query.a\nb}", "column 2: a control character in the name of a query parameter"},
        {"{header.}", "column 2: that is no name of a header"},
        {"{header.a b}", "column 2: that is no name of a header"},
        {"{.a}", "column 2: before the point stands query, header, body or the name of a part"},
        {"x{a b./c}", "column 3: before the point stands query, header, body or the name of a part"},
        {"{body.a}", "column 2: a JSON Pointer is empty or begins with a slash, such as /data/items/0"},
        {"{p./~2}", "column 2: in a JSON Pointer ~ is written ~0, and / in a name ~1"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct template *template = NULL;
        struct err err = {0};
        assert_int_equal(template_parse(cases[i].text, &template, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].error);
        assert_null(template);
    }
}

static void the_length_and_the_places_are_bounded(void **state)
{
    static char text[TEMPLATE_MAX_BYTES + 2];
    struct template *template = NULL;
    (void)state;

    memset(text, 'a', TEMPLATE_MAX_BYTES);
    assert_int_equal(template_parse(text, &template, NULL), 0);
    template_free(template);
    text[TEMPLATE_MAX_BYTES] = 'a';
    assert_int_equal(template_parse(text, &template, NULL), -ERANGE);

    memset(text, 0, sizeof(text));
    for (size_t i = 0; i < TEMPLATE_PLACES_MAX; i++)
        memcpy(text + 3 * i, "{a}", 3);
    assert_int_equal(template_parse(text, &template, NULL), 0);
    assert_int_equal(template_place_count(template), TEMPLATE_PLACES_MAX);
    template_free(template);
    memcpy(text + strlen(text), "{a}", 3);
    assert_int_equal(template_parse(text, &template, NULL), -ERANGE);
}

static void a_source_alone_is_read(void **state)
{
    struct template_place place;
    (void)state;

    assert_int_equal(template_place_parse("query.limit", &place, NULL), 0);
    assert_place(&place, TEMPLATE_QUERY, "query.limit", "limit", NULL, NULL);
    template_place_done(&place);
    assert_int_equal(template_place_parse("query.limit:10", &place, NULL), -EINVAL);
    assert_int_equal(template_place_parse("{id}", &place, NULL), -EINVAL);
    assert_int_equal(template_place_parse("", &place, NULL), -EINVAL);
    assert_int_equal(template_place_parse("body.x", &place, NULL), -EINVAL);
}

/* ---- paths ---- */

static void values_in_paths_are_escaped(void **state)
{
    (void)state;

    assert_rendered("/users/{id}/x", TEMPLATE_USE_PATH, "{\"id\": \"aZ9-._~\"}", "/users/aZ9-._~/x");
    assert_rendered("/users/{id}", TEMPLATE_USE_PATH, "{\"id\": \"a/b?c#d%2e&=+ ;:@\"}",
                    "/users/a%2Fb%3Fc%23d%252e%26%3D%2B%20%3B%3A%40");
    assert_rendered("/{id}", TEMPLATE_USE_PATH, "{\"id\": \"\xc3\xa4\\r\\n\"}", "/%C3%A4%0D%0A");
    assert_rendered("/{id}", TEMPLATE_USE_PATH, "{\"id\": \"../../etc\"}", "/..%2F..%2Fetc");
    assert_rendered("/{id:a/b}", TEMPLATE_USE_PATH, "{}", "/a%2Fb");
    assert_rendered("/{a}/{b}/{c}/{d}", TEMPLATE_USE_PATH,
                    "{\"a\": -7, \"b\": 1e300, \"c\": true, \"d\": false}", "/-7/1e%2B300/true/false");
}

static void text_around_values_in_paths_stays_but_for_what_no_url_has(void **state)
{
    (void)state;

    assert_rendered("/a%20b/c d/\xc3\xa4/;v=1/@:!$&'()*+,=/{id}?x=1/../{id}", TEMPLATE_USE_PATH,
                    "{\"id\": \"i\"}", "/a%20b/c%20d/%C3%A4/;v=1/@:!$&'()*+,=/i?x=1/../i");
    assert_rendered("/\"<>\\^`|{{}}[]\n", TEMPLATE_USE_PATH, "{}", "/%22%3C%3E%5C%5E%60%7C%7B%7D%5B%5D%0A");
}

static void values_cannot_make_a_segment_vanish(void **state)
{
    static const struct {
        const char *text;
        const char *values;
    } cases[] = {
        {"/a/{id}", "{\"id\": \"\"}"},        {"/a/{id}", "{\"id\": \".\"}"},
        {"/a/{id}", "{\"id\": \"..\"}"},      {"/a/{id}/b", "{\"id\": \"..\"}"},
        {"/a/.{id}/b", "{\"id\": \".\"}"},    {"/a/{id}./b", "{\"id\": \".\"}"},
        {"/a/%2e{id}/b", "{\"id\": \".\"}"},  {"/a/%2E{id}/b", "{\"id\": \"\"}"},
        {"/a/{id}{id}/b", "{\"id\": \".\"}"}, {"/a/{id}?b", "{\"id\": \"..\"}"},
        {"/a/{id}#b", "{\"id\": \"..\"}"},    {"/a/{id};b", "{\"id\": \"..\"}"},
        {"/a/{id};b", "{\"id\": \"\"}"},      {"{id}", "{\"id\": \"..\"}"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(cases[i].text, TEMPLATE_USE_PATH, cases[i].values,
                       "id cannot be empty, \".\" or \"..\" here");
    assert_refused("/a/{id:}", TEMPLATE_USE_PATH, "{}", "id cannot be empty, \".\" or \"..\" here");
}

static void dots_that_are_part_of_a_name_are_allowed(void **state)
{
    (void)state;

    assert_rendered("/{id}", TEMPLATE_USE_PATH, "{\"id\": \"...\"}", "/...");
    assert_rendered("/a{id}", TEMPLATE_USE_PATH, "{\"id\": \"..\"}", "/a..");
    assert_rendered("/{id}.json", TEMPLATE_USE_PATH, "{\"id\": \"\"}", "/.json");
    assert_rendered("/{id}", TEMPLATE_USE_PATH, "{\"id\": \"%2e%2e\"}", "/%252e%252e");
    assert_rendered("/a/../b//{id}", TEMPLATE_USE_PATH, "{\"id\": 1}", "/a/../b//1");
    assert_rendered("/a?b={id}&c=.{id}", TEMPLATE_USE_PATH, "{\"id\": \"\"}", "/a?b=&c=.");
    assert_rendered("/a?b=/{id}/{id}", TEMPLATE_USE_PATH, "{\"id\": \"..\"}", "/a?b=/../..");
}

/* ---- queries, headers, texts ---- */

static void values_in_queries_are_escaped_and_the_text_around_too(void **state)
{
    (void)state;

    assert_rendered("{query.q}", TEMPLATE_USE_QUERY, "{\"query.q\": \"a&b=c d+e%/..\"}",
                    "a%26b%3Dc%20d%2Be%25%2F..");
    assert_rendered("a&b: {query.q} 100%", TEMPLATE_USE_QUERY, "{\"query.q\": \"\"}", "a%26b%3A%20%20100%25");
}

static void values_in_headers_cannot_break_the_line(void **state)
{
    static const char *const values[] = {"{\"v\": \"a\\r\\nX: 1\"}", "{\"v\": \"a\\n\"}",
                                         "{\"v\": \"\\u007f\"}", "{\"v\": \"\xc3\xa4\"}",
                                         "{\"v\": \"\\u0001\"}"};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_refused("x {v}", TEMPLATE_USE_HEADER, values[i],
                       "v has characters that cannot be in a header");
    assert_refused("a\rb", TEMPLATE_USE_HEADER, "{}", "the text has characters that cannot be in a header");
    assert_refused("{v:\n}", TEMPLATE_USE_HEADER, "{}", "v has characters that cannot be in a header");
    assert_rendered("Bearer {v}", TEMPLATE_USE_HEADER, "{\"v\": \"a\\t~ %{}\"}", "Bearer a\t~ %{}");
}

static void values_in_texts_stay_as_they_are(void **state)
{
    (void)state;

    assert_rendered("{{{v}}} {w:d} {w}", TEMPLATE_USE_TEXT, "{\"v\": \"\xc3\xa4\\r\\n/\", \"w\": 1.5}",
                    "{\xc3\xa4\r\n/} 1.5 1.5");
}

static void a_place_without_value_has_its_default_or_is_an_error(void **state)
{
    (void)state;

    assert_rendered("{query.a:10}", TEMPLATE_USE_TEXT, "{}", "10");
    assert_rendered("{query.a:10}", TEMPLATE_USE_TEXT, "{\"query.a\": null}", "10");
    assert_rendered("{query.a:10}", TEMPLATE_USE_TEXT, "{\"query.a\": \"\"}", "");
    assert_rendered("<{query.a:}>", TEMPLATE_USE_TEXT, "{}", "<>");
    assert_refused("{query.a}", TEMPLATE_USE_TEXT, "{}", "query.a has no value");
    assert_refused("{p./x}", TEMPLATE_USE_TEXT, "{\"p./x\": null}", "p./x has no value");
}

static void objects_and_arrays_cannot_stand_in_a_text(void **state)
{
    (void)state;

    assert_refused("{body./a:1}", TEMPLATE_USE_TEXT, "{\"body./a\": {}}",
                   "body./a is an object, which cannot stand in a text");
    assert_refused("{p.}", TEMPLATE_USE_PATH, "{\"p.\": [1]}",
                   "p. is an array, which cannot stand in a text");
}

static void what_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    struct buf out = BUF_INIT(10);
    struct err err = {0};
    (void)state;

    buf_append_str(&out, "12345");
    assert_int_equal(try_render("a{v}", TEMPLATE_USE_PATH, "{\"v\": \"//\"}", &out, &err), -ERANGE);
    assert_string_equal(err.text, "it would be longer than 10 bytes");
    assert_int_equal(out.size, 5);
    assert_int_equal(try_render("a{v}", TEMPLATE_USE_PATH, "{\"v\": \"/1\"}", &out, &err), 0);
    assert_memory_equal(out.data, "12345a%2F1", 10);
    buf_done(&out);
}

/* ---- JSON ---- */

static struct json_template *parse_json(const char *text)
{
    struct json_template *template = NULL;
    struct err err = {0};

    if (json_template_parse(text, &template, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return template;
}

static int try_render_json(const char *text, const char *values_text, struct buf *out, struct err *err)
{
    struct json_template *template = parse_json(text);
    json_t *values = values_of(values_text);

    int rc = json_template_render(template, lookup, values, out, err);
    json_decref(values);
    json_template_free(template);
    return rc;
}

static void assert_json(const char *text, const char *values, const char *expected)
{
    struct buf out = BUF_INIT(65536);
    struct err err = {0};

    if (try_render_json(text, values, &out, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    buf_append(&out, "", 1);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

static void a_single_placeholder_becomes_the_value_itself(void **state)
{
    (void)state;

    assert_json("{\"a\": \"{v}\"}", "{\"v\": 7}", "{\"a\":7}");
    assert_json("{\"a\": \"{v}\"}", "{\"v\": \"x\\\"y\"}", "{\"a\":\"x\\\"y\"}");
    assert_json("{\"a\": [\"{v}\", \"{w}\"]}", "{\"v\": {\"b\": [1, null]}, \"w\": null}",
                "{\"a\":[{\"b\":[1,null]},null]}");
    assert_json("\"{body.}\"", "{\"body.\": [1, 2]}", "[1,2]");
    assert_json("{\"a\": \"{v:1}\"}", "{}", "{\"a\":\"1\"}");
    assert_json("{\"a\": \"{v:1}\"}", "{\"v\": 2.5}", "{\"a\":2.5}");
}

static void other_strings_become_strings(void **state)
{
    (void)state;

    assert_json("{\"a\": \"for {v}, {w:x}\"}", "{\"v\": \"\\\"},{\\\"\\n\"}",
                "{\"a\":\"for \\\"},{\\\"\\n, x\"}");
    assert_json("[\"{v}{v}\", \" {v}\"]", "{\"v\": 1}", "[\"11\",\" 1\"]");
    assert_json(" \"x{v:}\" ", "{}", "\"x\"");
    assert_json("[\"{v:}{v:}\"]", "{}", "[\"\"]");
}

static void json_without_places_stays_as_it_is(void **state)
{
    (void)state;

    assert_json("{\"a\": [1, 1.5, true, null, {}, []], \"{v}\": \"{{v}}\", \"\xc3\xa4\": \"\\u00e4/\"}", "{}",
                "{\"a\":[1,1.5,true,null,{},[]],\"{v}\":\"{v}\",\"\xc3\xa4\":\"\xc3\xa4/\"}");
    assert_json("[]", "{}", "[]");
}

static void places_of_a_json_template_are_listed(void **state)
{
    struct json_template *template = parse_json("{\"a\": \"{id}\", \"b\": [\"x {query.q} {id:3}\"]}");
    (void)state;

    assert_int_equal(json_template_place_count(template), 3);
    assert_string_equal(json_template_place(template, 0)->text, "id");
    assert_string_equal(json_template_place(template, 1)->text, "query.q");
    assert_string_equal(json_template_place(template, 2)->fallback, "3");
    json_template_free(template);
}

static void malformed_json_templates_are_refused(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"", "line 1, column 1 (byte 0): a JSON object or array is expected, there is nothing"},
        {"{id}", "line 1, column 4 (byte 3): string or '}' expected near 'id'"},
        {"[\"{id\"]", "in \"{id\": column 1: the brace is not closed; write {{ for a brace"},
        {"\"a", "line 1, column 2: premature end of input near '\"a'"},
        {"\"a\" 1", "line 1, column 5: end of file expected near '1'"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_template *template = NULL;
        struct err err = {0};
        assert_int_equal(json_template_parse(cases[i].text, &template, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].error);
    }
}

static void places_of_all_strings_are_bounded_together(void **state)
{
    struct buf text = BUF_INIT(4096);
    struct json_template *template = NULL;
    (void)state;

    buf_append_str(&text, "[\"{v}\"");
    for (size_t i = 1; i < TEMPLATE_PLACES_MAX / 2; i++)
        buf_append_str(&text, ",\"{v}{v}\"");
    buf_append_str(&text, ",\"{v}\"]");
    buf_append(&text, "", 1);
    assert_int_equal(json_template_parse(text.data, &template, NULL), 0);
    json_template_free(template);
    memcpy(text.data + text.size - 2, ",\"{v}\"]", 8);
    assert_int_equal(json_template_parse(text.data, &template, NULL), -ERANGE);
    buf_done(&text);
}

static void what_is_missing_in_json_is_named(void **state)
{
    struct buf out = BUF_INIT(1000);
    struct err err = {0};
    (void)state;

    buf_append_str(&out, "x");
    assert_int_equal(try_render_json("[1, \"{body./a}\"]", "{}", &out, &err), -EINVAL);
    assert_string_equal(err.text, "body./a has no value");
    assert_int_equal(try_render_json("[1, \"a {body./a}\"]", "{\"body./a\": []}", &out, &err), -EINVAL);
    assert_string_equal(err.text, "body./a is an array, which cannot stand in a text");
    assert_int_equal(out.size, 1);
    buf_done(&out);
}

static void json_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    struct buf out = BUF_INIT(8);
    struct err err = {0};
    (void)state;

    buf_append_str(&out, "x");
    assert_int_equal(try_render_json("[\"{v}\"]", "{\"v\": \"123456\"}", &out, &err), -ERANGE);
    assert_int_equal(try_render_json("[\"{v}{v}\"]", "{\"v\": \"123\"}", &out, &err), -ERANGE);
    assert_int_equal(out.size, 1);
    assert_int_equal(try_render_json("[\"{v}\"]", "{\"v\": \"123\"}", &out, &err), 0);
    assert_memory_equal(out.data, "x[\"123\"]", 8);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_source_is_read),
        cmocka_unit_test(texts_without_places_are_constant),
        cmocka_unit_test(a_place_alone_is_single),
        cmocka_unit_test(malformed_templates_are_refused_with_their_place),
        cmocka_unit_test(the_length_and_the_places_are_bounded),
        cmocka_unit_test(a_source_alone_is_read),
        cmocka_unit_test(values_in_paths_are_escaped),
        cmocka_unit_test(text_around_values_in_paths_stays_but_for_what_no_url_has),
        cmocka_unit_test(values_cannot_make_a_segment_vanish),
        cmocka_unit_test(dots_that_are_part_of_a_name_are_allowed),
        cmocka_unit_test(values_in_queries_are_escaped_and_the_text_around_too),
        cmocka_unit_test(values_in_headers_cannot_break_the_line),
        cmocka_unit_test(values_in_texts_stay_as_they_are),
        cmocka_unit_test(a_place_without_value_has_its_default_or_is_an_error),
        cmocka_unit_test(objects_and_arrays_cannot_stand_in_a_text),
        cmocka_unit_test(what_does_not_fit_leaves_the_buffer_as_it_was),
        cmocka_unit_test(a_single_placeholder_becomes_the_value_itself),
        cmocka_unit_test(other_strings_become_strings),
        cmocka_unit_test(json_without_places_stays_as_it_is),
        cmocka_unit_test(places_of_a_json_template_are_listed),
        cmocka_unit_test(malformed_json_templates_are_refused),
        cmocka_unit_test(places_of_all_strings_are_bounded_together),
        cmocka_unit_test(what_is_missing_in_json_is_named),
        cmocka_unit_test(json_that_does_not_fit_leaves_the_buffer_as_it_was),
    };

    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
