/*
 * local_net.h - links between the engines of one process (net/local).
 *
 * A process that hosts several engines makes one hub. Each engine's net_config.backend is a struct local_port: the hub,
 * and the fabric for everybody who is not of this process. net_ops_local then is one transport over both.
 */
#ifndef VALENCE_NET_LOCAL_LOCAL_NET_H
#define VALENCE_NET_LOCAL_LOCAL_NET_H

#include "net/net.h"

struct local_hub;

struct local_port { struct local_hub *hub; const struct net_ops *fabric; };

/* Any thread may use it. Its memory is accounted by itself: @parent belongs to the thread that makes it and frees it. */
struct local_hub *local_hub_new(struct mem *parent);
void local_hub_free(struct local_hub *hub); /* after all transports of it are closed */

#endif
