/*
 * ofi_provider.c - what libfabric is asked for, and its errors (net/ofi).
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/ofi/ofi_int.h"

struct fi_info *ofi_hints(const struct ofi_net *n)
{
	struct fi_info *h = fi_allocinfo();

	if (!h)
		return NULL;
	/*
	 * Connected endpoints only: the datagram ones (ofi_rxm, net) never report a dead peer, shm spins
	 * for ever when one is killed, sockets and udp are unusable (measured with 1.17.0).
	 */
	h->ep_attr->type = FI_EP_MSG;
	h->caps = FI_MSG | FI_RMA;
	h->mode = FI_CONTEXT | FI_CONTEXT2;
	h->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	h->domain_attr->threading = FI_THREAD_DOMAIN;
	h->domain_attr->control_progress = FI_PROGRESS_MANUAL;
	h->domain_attr->data_progress = FI_PROGRESS_MANUAL;
	h->fabric_attr->prov_name = strdup(n->what->provider);
	return h;
}

/*
 * Where the fabric must be told which of our addresses a dial comes from: that of the listener, any
 * port.
 */
void ofi_hint_source(const struct ofi_net *n, struct fi_info *h)
{
	const struct sockaddr *listener = n->info ? n->info->src_addr : NULL;

	if (!n->what->caps.source_address || !n->pep || !listener)
		return;
	h->src_addr = calloc(1, n->info->src_addrlen);
	if (!h->src_addr)
		return;
	memcpy(h->src_addr, listener, n->info->src_addrlen);
	h->src_addrlen = n->info->src_addrlen;
	h->addr_format = n->info->addr_format;
	net_address_set_port(h->src_addr, 0);
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
