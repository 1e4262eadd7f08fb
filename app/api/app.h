/* app.h - what the handlers work with: the parts of the program, made and ended by main. */
#pragma once

#include <stdatomic.h>

#include "base/budget.h"
#include "config/config.h"
#include "fetch/fetch.h"
#include "fetch/networks.h"
#include "front/front.h"
#include "mail/mail.h"
#include "tasks/engine.h"
#include "tasks/schedules.h"
#include "upstream/upstream.h"

struct api_table;

struct app {
    const struct config *config;
    struct front *front;
    struct fetch_pool *fetch;
    struct upstreams *upstreams;
    struct budget buffered; /* bodies that are held at the same time */
    struct api_table *table;
    struct networks *client_networks; /* for addresses of clients' URLs */
    struct fetch_target **targets;    /* one for each of concurrent_requests.urls */
    struct mailer *mailer;
    struct task_services services;
    struct task_engine *tasks;
    struct task_schedules *schedules;
    atomic_bool started;
    atomic_bool failed; /* the process cannot go on */
};
