/*
 * ofi_provider.c - what differs between libfabric's providers, addresses and errors (net/ofi).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/ofi/ofi_int.h"

/*
 * Connected endpoints only: the datagram ones (ofi_rxm, net) never report a dead peer, shm spins
 * for ever when one is killed, sockets and udp are unusable (measured with 1.17.0).
 */
static const struct ofi_provider providers[] = {
	{.name = "tcp", .cq_entries = 4096},
	{.name = "verbs", .source_address = true, .remote_read = true, .cq_entries = 4096},
};

const struct ofi_provider *ofi_provider_find(const char *name)
{
	if (!name || !*name)
		return &providers[0];
	for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++)
		if (strcmp(providers[i].name, name) == 0)
			return &providers[i];
	return NULL;
}

struct fi_info *ofi_hints(const struct ofi_net *n)
{
	struct fi_info *h = fi_allocinfo();

	if (!h)
		return NULL;
	h->ep_attr->type = FI_EP_MSG;
	h->caps = FI_MSG | FI_RMA;
	h->mode = FI_CONTEXT | FI_CONTEXT2;
	h->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	h->domain_attr->threading = FI_THREAD_DOMAIN;
	h->domain_attr->control_progress = FI_PROGRESS_MANUAL;
	h->domain_attr->data_progress = FI_PROGRESS_MANUAL;
	h->fabric_attr->prov_name = strdup(n->provider->name);
	return h;
}

/*
 * Where the fabric must be told which of our addresses a dial comes from: that of the listener, any
 * port.
 */
void ofi_hint_source(const struct ofi_net *n, struct fi_info *h)
{
	const struct sockaddr *listener = n->info ? n->info->src_addr : NULL;

	if (!n->provider->source_address || !n->pep || !listener)
		return;
	h->src_addr = calloc(1, n->info->src_addrlen);
	if (!h->src_addr)
		return;
	memcpy(h->src_addr, listener, n->info->src_addrlen);
	h->src_addrlen = n->info->src_addrlen;
	h->addr_format = n->info->addr_format;
	if (listener->sa_family == AF_INET)
		((struct sockaddr_in *)h->src_addr)->sin_port = 0;
	else if (listener->sa_family == AF_INET6)
		((struct sockaddr_in6 *)h->src_addr)->sin6_port = 0;
}

/* The one place where libfabric's error numbers become ours. */
enum status ofi_status(int fi_errno)
{
	switch (abs(fi_errno)) {
	case 0:
		return ST_OK;
	case FI_ECONNREFUSED:
		return ST_CONNECTION_REFUSED;
	case FI_ETIMEDOUT:
		return ST_WAIT;
	case FI_EAGAIN:
		return ST_AGAIN;
	case FI_ENOMEM:
		return ST_NOMEM;
	case FI_EMFILE:
		return ST_SYSTEM;
	case FI_EADDRINUSE:
	case FI_EADDRNOTAVAIL:
		return ST_STATE;
	case FI_EINVAL:
		return ST_BAD_PARAMETER;
	default:
		return ST_CONNECTION;
	}
}

enum status ofi_error(struct error *err, const char *what, const char *address, int fi_errno)
{
	enum status st = ofi_status(fi_errno);

	if (abs(fi_errno) == FI_EADDRINUSE) {
		error_set(err, ST_STATE, "cannot listen on %s: the address is in use", address);
		error_hint(err, "Stop the process that listens there, or choose another port.");
		return ST_STATE;
	}
	return error_set(err, st, "%s %s: %s", what, address, fi_strerror(abs(fi_errno)));
}

bool ofi_address_split(const char *address, char host[NET_ADDRESS_MAX], char port[8])
{
	const char *colon = address ? strrchr(address, ':') : NULL;
	size_t host_bytes;
	char *end;

	if (!colon || colon == address || strlen(address) >= NET_ADDRESS_MAX ||
	    strlen(colon + 1) > 5)
		return false;
	if (colon[1] < '0' || colon[1] > '9' || strtoul(colon + 1, &end, 10) > 65535 || *end)
		return false;
	host_bytes = (size_t)(colon - address);
	if (address[0] == '[') {
		if (colon[-1] != ']' || host_bytes < 3)
			return false;
		address++;
		host_bytes -= 2;
	} else if (memchr(address, ':', host_bytes)) {
		return false; /* IPv6 without brackets */
	}
	memcpy(host, address, host_bytes);
	host[host_bytes] = '\0';
	snprintf(port, 8, "%s", colon + 1);
	return true;
}

void ofi_address_format(const void *sockaddr, char out[NET_ADDRESS_MAX])
{
	const struct sockaddr *sa = sockaddr;
	char text[INET6_ADDRSTRLEN];

	snprintf(out, NET_ADDRESS_MAX, "unknown");
	if (!sa)
		return;
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = sockaddr;

		inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
		snprintf(out, NET_ADDRESS_MAX, "%s:%u", text, ntohs(in->sin_port));
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = sockaddr;

		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
		snprintf(out, NET_ADDRESS_MAX, "[%s]:%u", text, ntohs(in6->sin6_port));
	}
}
