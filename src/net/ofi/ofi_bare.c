/*
 * ofi_bare.c - libfabric alone, for `valence bench fabric` (net/ofi). See net/bare.h.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/bare.h"
#include "net/ofi/ofi_int.h"

#define SLOTS 64
#define BATCH 16
#define SMALL 4096u
#define LARGE_SLOTS 16 /* of receives above that */

struct slot {
	struct fi_context2 context;
	bool receives;
	uint8_t *data;
};

struct bare {
	struct net_bare bare;
	struct net_bare_config cfg;
	struct ofi_net what; /* for the hints only */
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_eq *eq;
	struct fid_cq *cq;
	struct fid_pep *pep;
	struct fid_ep *ep;
	struct fid_mr *mr;
	size_t inject_bytes, area_bytes;
	uint8_t *area; /* what is sent, then the receives */
	struct slot receives[SLOTS], sends[SLOTS];
	uint32_t receive_count, free_count;
	struct slot *free[SLOTS];
};

static struct bare *bare_of(struct net_bare *b)
{
	return CONTAINER_OF(b, struct bare, bare);
}

static void *desc(const struct bare *b)
{
	return b->mr ? fi_mr_desc(b->mr) : NULL;
}

static void bare_close(struct net_bare *bare)
{
	struct bare *b = bare_of(bare);
	struct fid *fids[] = {b->ep ? &b->ep->fid : NULL,        b->pep ? &b->pep->fid : NULL,
			      b->mr ? &b->mr->fid : NULL,        b->cq ? &b->cq->fid : NULL,
			      b->eq ? &b->eq->fid : NULL,        b->domain ? &b->domain->fid : NULL,
			      b->fabric ? &b->fabric->fid : NULL};

	for (size_t i = 0; i < sizeof fids / sizeof fids[0]; i++)
		if (fids[i])
			fi_close(fids[i]);
	mem_free(b->cfg.mem, b->area, b->area_bytes);
	MEM_FREE(b->cfg.mem, b);
}

static int open_domain(struct bare *b, struct fi_info *info)
{
	struct fi_eq_attr eq_attr = {.size = 64, .wait_obj = FI_WAIT_FD};
	struct fi_cq_attr cq_attr = {
		.size = 1024, .format = FI_CQ_FORMAT_CONTEXT, .wait_obj = FI_WAIT_FD};
	int rc = fi_fabric(info->fabric_attr, &b->fabric, NULL);

	if (rc == 0)
		rc = fi_domain(b->fabric, info, &b->domain, NULL);
	if (rc == 0)
		rc = fi_eq_open(b->fabric, &eq_attr, &b->eq, NULL);
	if (rc == 0)
		rc = fi_cq_open(b->domain, &cq_attr, &b->cq, NULL);
	if (rc == 0 && (info->domain_attr->mr_mode & FI_MR_LOCAL))
		rc = fi_mr_reg(b->domain, b->area, b->area_bytes, FI_SEND | FI_RECV, 0, 0, 0,
			       &b->mr, NULL);
	b->inject_bytes = b->mr ? 0 : info->tx_attr->inject_size;
	return rc;
}

static enum status bare_open(const struct net_bare_config *cfg, char address_out[NET_ADDRESS_MAX],
			     struct net_bare **out, struct error *err)
{
	struct bare *b = MEM_NEW(cfg->mem, struct bare);
	struct sockaddr_storage ss;
	struct fi_info *hints, *info = NULL;
	size_t bytes = sizeof ss;
	int rc;

	setenv("IPATH_NO_BACKTRACE", "1", 1);
	b->bare.ops = &net_bare_ofi;
	b->cfg = *cfg;
	b->what.what = net_fabric_of("ofi", cfg->provider);
	b->receive_count = cfg->message_bytes > SMALL ? LARGE_SLOTS : SLOTS;
	b->area_bytes = (size_t)cfg->message_bytes * (b->receive_count + 1);
	b->area = mem_alloc(cfg->mem, b->area_bytes);
	memset(b->area, NET_BARE_FILL, b->area_bytes);
	hints = ofi_hints(&b->what);
	rc = fi_getinfo(OFI_API, cfg->host, "0", FI_SOURCE, hints, &info);
	fi_freeinfo(hints);
	if (rc == 0)
		rc = open_domain(b, info);
	if (rc == 0)
		rc = fi_passive_ep(b->fabric, info, &b->pep, NULL);
	if (rc == 0)
		rc = fi_pep_bind(b->pep, &b->eq->fid, 0);
	if (rc == 0)
		rc = fi_listen(b->pep);
	if (rc == 0)
		rc = fi_getname(&b->pep->fid, &ss, &bytes);
	fi_freeinfo(info);
	if (rc != 0) {
		bare_close(&b->bare);
		return ofi_error(err, "bare libfabric:", cfg->host, rc);
	}
	net_address_format(&ss, address_out);
	*out = &b->bare;
	return ST_OK;
}

static int open_endpoint(struct bare *b, struct fi_info *info)
{
	int rc = fi_endpoint(b->domain, info, &b->ep, NULL);

	if (rc == 0)
		rc = fi_ep_bind(b->ep, &b->eq->fid, 0);
	if (rc == 0)
		rc = fi_ep_bind(b->ep, &b->cq->fid, FI_TRANSMIT | FI_RECV);
	if (rc == 0)
		rc = fi_enable(b->ep);
	for (uint32_t i = 0; i < SLOTS; i++)
		b->free[b->free_count++] = &b->sends[i];
	for (uint32_t i = 0; i < b->receive_count && rc == 0; i++) {
		struct slot *s = &b->receives[i];

		s->receives = true;
		s->data = b->area + (size_t)b->cfg.message_bytes * (i + 1);
		rc = (int)fi_recv(b->ep, s->data, b->cfg.message_bytes, desc(b), 0, &s->context);
	}
	return rc;
}

static enum status bare_connect(struct net_bare *bare, const char *address, struct error *err)
{
	struct bare *b = bare_of(bare);
	char host[NET_ADDRESS_MAX], port[8];
	struct fi_info *hints = ofi_hints(&b->what), *info = NULL;
	int rc = net_address_split(address, host, port) ? 0 : -FI_EINVAL;

	if (rc == 0)
		rc = fi_getinfo(OFI_API, host, port, 0, hints, &info);
	fi_freeinfo(hints);
	if (rc == 0)
		rc = open_endpoint(b, info);
	if (rc == 0)
		rc = fi_connect(b->ep, info->dest_addr, NULL, 0);
	if (info)
		fi_freeinfo(info);
	return rc == 0 ? ST_OK : ofi_error(err, "bare libfabric: cannot dial", address, rc);
}

static bool bare_send(struct net_bare *bare, uint32_t bytes)
{
	struct bare *b = bare_of(bare);
	struct slot *s;

	if (bytes <= b->inject_bytes)
		return fi_inject(b->ep, b->area, bytes, 0) == 0;
	if (!b->free_count)
		return false;
	s = b->free[b->free_count - 1];
	if (fi_send(b->ep, b->area, bytes, desc(b), 0, &s->context) != 0)
		return false;
	b->free_count--;
	return true;
}

static void events(struct bare *b)
{
	struct fi_eq_cm_entry entry;
	uint32_t event;
	ssize_t rc = fi_eq_read(b->eq, &event, &entry, sizeof entry, 0);

	if (rc == -FI_EAVAIL || (rc > 0 && event == FI_SHUTDOWN)) {
		b->bare.failed = true;
	} else if (rc > 0 && event == FI_CONNREQ) {
		b->bare.failed =
			open_endpoint(b, entry.info) != 0 || fi_accept(b->ep, NULL, 0) != 0;
		fi_freeinfo(entry.info);
	} else if (rc > 0 && event == FI_CONNECTED) {
		b->bare.up = true;
	}
}

static void bare_progress(struct net_bare *bare)
{
	struct bare *b = bare_of(bare);
	struct fi_cq_entry entries[BATCH];
	ssize_t n;

	if (!bare->up) {
		events(b);
		return;
	}
	n = fi_cq_read(b->cq, entries, BATCH);
	if (n == -FI_EAVAIL)
		bare->failed = true;
	for (ssize_t i = 0; i < n; i++) {
		struct slot *s = (struct slot *)entries[i].op_context;

		if (!s->receives) {
			b->free[b->free_count++] = s;
			continue;
		}
		if (fi_recv(b->ep, s->data, b->cfg.message_bytes, desc(b), 0, &s->context) != 0)
			bare->failed = true;
		net_bare_count(bare);
	}
}

const struct net_bare_ops net_bare_ofi = {
	.name = "libfabric",
	.open = bare_open,
	.connect = bare_connect,
	.send = bare_send,
	.progress = bare_progress,
	.close = bare_close,
};
