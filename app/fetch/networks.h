/* networks.h - to which addresses a URL that somebody else wrote may lead.
 *
 * A name says nothing about that: what counts is the address that is connected to (fetch_may_connect_fn).
 * Public ones may be used, and those of networks that are listed.  Not public are those that only mean
 * something here or in this network (loopback, private, link-local, ...), that reach many (multicast,
 * broadcast), that are for no use (documentation, reserved), and those that have an IPv4 address in them,
 * which a gateway on the way would make of them (NAT64, 6to4, ...). Threads: any; it never changes. */
#pragma once

#include <sys/socket.h>

#include "config/config.h"

struct networks;

/* `listed` as concurrent_requests.client_networks: "10.1.0.0/16". */
must_check int networks_create(const struct config_list *listed, struct networks **ret_networks,
                               struct err *err);
void networks_free(struct networks *networks);

/* False with a reason, such as "127.0.0.1 is a loopback address". */
must_check bool networks_allow(const struct networks *networks, const struct sockaddr *address,
                               struct err *err);
