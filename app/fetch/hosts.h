/* hosts.h - which hosts URLs of others may lead to: those of tasks, those that clients bring.
 *
 * Others write the URLs, and heddle stands where they do not: who may name any host can reach what only
 * heddle should.  So every URL is looked at when it comes in, again when it is used, and for each redirect
 * (`may_visit` of a fetch), and what is looked at is what libcurl will connect to and not a second opinion on
 * the text.
 *
 * A pattern is one of
 *     example.com         this host at the default port of the URL's scheme: http 80, https 443
 *     *.example.com       all names below it, however deep; not example.com itself, and no address
 *     example.com:8443    a host at this port only, whichever the scheme; also *.example.com:8443
 *     127.0.0.1           an IPv4 address with all its four numbers
 *     [::1]:80            an IPv6 address, with or without a port
 * Case does not matter, nor a dot behind the name.  An address is a host of its own: a name that leads to it
 * does not allow it.  What a name leads to is not looked at here: who allows a name trusts its name server,
 * or looks at the addresses as well (networks.h).
 * Threads: any.  Ownership: all is lent for the call. */
#pragma once

#include "base/common.h"
#include "base/err.h"
#include "config/config.h"
#include "fetch/fetch.h"

/* 0, or -EINVAL when the text is no pattern. */
must_check int hosts_check_pattern(const char *pattern, struct err *err);

/* True when the URL of the target has no user name and its host and port match a pattern; otherwise false,
 * with the reason, which says that it is `who` ("tasks") that may not.  A text that is no pattern matches
 * nothing. */
must_check bool hosts_allow_target(const struct config_list *allowed, const char *who,
                                   const struct fetch_target *target, struct err *err);

/* The same for a URL that is no target yet; false also when it is not an absolute http or https URL, with
 * -ENOMEM in err->code when memory was short. */
must_check bool hosts_allow_url(const struct config_list *allowed, const char *who, const char *url,
                                struct err *err);
