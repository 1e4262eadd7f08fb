/* The command line. */
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/buf.h"
#include "cli/cli.h"
#include "config/config.h"
#include "metrics/metrics.h"
#include "serve.h"

#define DOCS_MAX_BYTES (1024 * 1024)

static const char usage[] = "usage: heddle serve -c FILE                run the server\n"
                            "       heddle check -c FILE                check a configuration: every error "
                            "at once, exit 1 if there are any\n"
                            "       heddle docs configuration|metrics   print the reference as Markdown\n"
                            "       heddle version\n"
                            "       heddle --help\n";

static int usage_error(const char *message, const char *what)
{
    fprintf(stderr, "heddle: %s%s\n%s%s", message, what, usage, cli_tasks_usage);
    return 2;
}

/* NULL when it is wrong and that has been said. */
static struct config *load(const char *path)
{
    cleanup(config_errors_done) struct config_errors errors = CONFIG_ERRORS_INIT;
    struct config *config = NULL;

    if (config_load(path, &config, &errors) == 0 && api_check(config, path, &errors.text) == 0)
        return config;
    fwrite(errors.text.data, 1, errors.text.size, stderr);
    config_free(config);
    return NULL;
}

static int run_serve(const char *path)
{
    cleanup(config_free_scope) struct config *config = load(path);

    return config ? serve(config) : 1;
}

/* Output that cannot be written is a failure: a script may depend on it. */
static int end_output(void)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

static int run_check(const char *path)
{
    cleanup(config_free_scope) struct config *config = load(path);

    if (!config)
        return 1;
    printf("%s: ok\n", path);
    return end_output();
}

static void write_metrics_docs(struct buf *out)
{
    if (serve_register_metrics(NULL, api_routes, api_route_count, NULL) < 0)
        out->failed = true;
    metrics_write_markdown(out);
}

static int run_docs(const char *topic)
{
    static const struct {
        const char *topic;
        void (*write)(struct buf *out);
    } docs[] = {
        {"configuration", config_write_markdown},
        {"metrics", write_metrics_docs},
    };
    cleanup(buf_done) struct buf out = BUF_INIT(DOCS_MAX_BYTES);

    for (size_t i = 0; i < ARRAY_LEN(docs); i++) {
        if (strcmp(docs[i].topic, topic) != 0)
            continue;
        docs[i].write(&out);
        fwrite(out.data, 1, out.size, stdout);
        return out.failed ? 1 : end_output();
    }
    return usage_error("there are no docs about ", topic);
}

/* Commands that take `-c FILE`. */
static const struct {
    const char *name;
    int (*run)(const char *path);
} file_commands[] = {
    {"serve", run_serve},
    {"check", run_check},
};

static int run_file_command(int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_LEN(file_commands); i++) {
        if (strcmp(argv[1], file_commands[i].name) != 0)
            continue;
        if (argc != 4 || strcmp(argv[2], "-c") != 0)
            return usage_error("expected -c FILE after ", argv[1]);
        return file_commands[i].run(argv[3]);
    }
    return usage_error("unknown command or wrong number of arguments: ", argv[1]);
}

static bool is_any_of(const char *text, const char *a, const char *b, const char *c)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage_error("no command", "");
    if (argc == 2 && is_any_of(argv[1], "--help", "-h", "help")) {
        fputs(usage, stdout);
        fputs(cli_tasks_usage, stdout);
        return end_output();
    }
    if (argc == 2 && is_any_of(argv[1], "version", "--version", "-V")) {
        puts("heddle " HEDDLE_VERSION);
        return end_output();
    }
    if (strcmp(argv[1], "tasks") == 0)
        return cli_tasks(argc - 1, argv + 1);
    if (strcmp(argv[1], "docs") == 0 && argc == 3)
        return run_docs(argv[2]);
    return run_file_command(argc, argv);
}
