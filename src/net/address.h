/*
 * address.h - "host:port" as text and as the system has it (net).
 */
#ifndef VALENCE_NET_ADDRESS_H
#define VALENCE_NET_ADDRESS_H

#include "net/net.h"

/* "host:port" or "[v6]:port"; false: not that */
bool net_address_split(const char *address, char host[NET_ADDRESS_MAX], char port[8]);
/* of a struct sockaddr; "unknown" for NULL and for what is no internet address */
void net_address_format(const void *sockaddr, char out[NET_ADDRESS_MAX]);
/* The listener's address as it was asked for, with the port that was taken: others may know the host by that name only. */
void net_address_bound(const char *host, const void *sockaddr, char out[NET_ADDRESS_MAX]);
/* The port of a struct sockaddr; 0 is any. */
void net_address_set_port(void *sockaddr, uint16_t port);
uint16_t net_address_port(const void *sockaddr);

#endif
