/* Patterns of parameters. */
#include <errno.h>
#include <string.h>

#include "base/pattern.h"
#include "config/config_int.h"

int config_check_pattern(const char *text, struct err *err)
{
    char quoted[PARSE_QUOTED_SIZE];
    struct err inner = {0};
    struct pattern *pattern = NULL;
    int r = pattern_parse(text, &pattern, &inner);

    pattern_free(pattern);
    if (r == 0)
        return 0;
    return err_set(err, r, "%s is not an extended regular expression: %s",
                   parse_quote(text, strlen(text), quoted), inner.text);
}

int config_pattern_matches(const char *pattern, const char *text)
{
    struct pattern *parsed;

    if (pattern_parse(pattern, &parsed, NULL) < 0)
        return -ENOMEM;
    bool is_match = pattern_matches(parsed, text, strlen(text));
    pattern_free(parsed);
    return is_match;
}
