/*
 * ofi_net.c - the transport over libfabric: opening, addresses, events (net/ofi). See ofi_int.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/ofi/ofi_int.h"

#define BATCH 64
#define EVENT_TURNS 64 /* of progress between looks for connections while there are messages */
#define TURNS_MAX 16 /* of completions in one progress, so that the caller's loop gets its turn */

static struct ofi_net *net_of(struct net *net)
{
	return CONTAINER_OF(net, struct ofi_net, net);
}

/* -- open and close --------------------------------------------------------------------------- */

static enum status ofi_open(const struct net_config *cfg, struct net **net_out, struct error *err)
{
	const struct net_fabric *what = net_fabric_of("ofi", cfg->provider);
	struct ofi_net *n;

	if (!what)
		return error_set(err, ST_BAD_PARAMETER,
				 "unknown fabric provider \"%s\" (tcp, verbs)", cfg->provider);
	/*
	 * Before the library looks for providers: one of them would install signal handlers
	 * (libinfinipath).
	 */
	setenv("IPATH_NO_BACKTRACE", "1", 1);
	setenv("FI_PROVIDER", what->provider, 0);
	/*
	 * What is registered here lives long. The library's own cache of registrations gains nothing then, and is suspected
	 * of keeping one for memory that was freed and mapped anew: over verbs, zeros arrived until it was off.
	 */
	setenv("FI_MR_CACHE_MAX_COUNT", "0", 0);
	n = MEM_NEW(cfg->mem, struct ofi_net);
	n->net.ops = &net_ops_ofi;
	n->cfg = *cfg;
	n->what = what;
	n->net.remote_read = what->caps.remote_read && cfg->events->read;
	list_init(&n->links);
	list_init(&n->closed);
	list_init(&n->dirty);
	list_init(&n->broken);
	list_init(&n->pool);
	net_spare_init(&n->spare, cfg->mem);
	map_init(&n->by_fid, cfg->mem);
	n->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (n->epoll_fd < 0) {
		error_set(err, ST_SYSTEM, "cannot create an epoll descriptor: %s", strerror(errno));
		MEM_FREE(cfg->mem, n);
		return ST_SYSTEM;
	}
	if (cfg->secret)
		entropy_fill(&cfg->entropy, n->gate.key, sizeof n->gate.key);
	*net_out = &n->net;
	return ST_OK;
}

static int watch(struct ofi_net *n, struct fid *fid)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd, rc = fi_control(fid, FI_GETWAIT, &fd);

	if (rc != 0)
		return rc;
	ev.data.fd = fd;
	return epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : -errno;
}

/* The fabric of the first address; it serves all others, too. */
static int open_fabric(struct ofi_net *n, struct fi_info *info)
{
	struct fi_eq_attr eq_attr = {.size = 1024, .wait_obj = FI_WAIT_FD};
	struct fi_cq_attr cq_attr = {
		.size = OFI_CQ_ENTRIES, .format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_FD,
	};
	int rc;

	if (n->fabric)
		return 0;
	rc = fi_fabric(info->fabric_attr, &n->fabric, NULL);
	if (rc != 0)
		return rc;
	rc = fi_domain(n->fabric, info, &n->domain, NULL);
	if (rc == 0)
		rc = fi_eq_open(n->fabric, &eq_attr, &n->eq, NULL);
	if (rc == 0)
		rc = fi_cq_open(n->domain, &cq_attr, &n->cq, NULL);
	if (rc == 0)
		rc = watch(n, &n->eq->fid);
	if (rc == 0)
		rc = watch(n, &n->cq->fid);
	if (rc != 0)
		return rc;
	n->info = fi_dupinfo(info);
	n->register_memory = (info->domain_attr->mr_mode & FI_MR_LOCAL) != 0;
	log_event(n->cfg.log, LOG_NET, LOG_INFO, "fabric open", "provider=%s fabric=%s domain=%s",
		  info->fabric_attr->prov_name, info->fabric_attr->name, info->domain_attr->name);
	return 0;
}

static void close_fabric(struct ofi_net *n)
{
	if (n->pep)
		fi_close(&n->pep->fid);
	if (n->cq)
		fi_close(&n->cq->fid);
	if (n->eq)
		fi_close(&n->eq->fid);
	if (n->domain)
		fi_close(&n->domain->fid);
	if (n->fabric)
		fi_close(&n->fabric->fid);
	if (n->info)
		fi_freeinfo(n->info);
}

static void drain_late(struct ofi_net *n);

static void ofi_close(struct net *net)
{
	struct ofi_net *n = net_of(net);

	ASSERT(!n->in_progress);
	while (!list_empty(&n->links))
		ofi_link_close(CONTAINER_OF(n->links.next, struct ofi_link, all));
	drain_late(n);
	ofi_pool_fini(n);
	net_spare_fini(&n->spare);
	ofi_door_close(n);
	close_fabric(n);
	close(n->epoll_fd);
	map_fini(&n->by_fid);
	MEM_FREE(n->cfg.mem, n);
}

/* -- addresses -------------------------------------------------------------------------------- */

/*
 * Numeric hosts cost nothing; a name is resolved here and may block for as long as the resolver
 * takes.
 */
static int info_of(struct ofi_net *n, const char *host, const char *port, uint64_t flags,
		   struct fi_info **info_out)
{
	struct fi_info *hints = ofi_hints(n);
	int rc;

	if (!hints)
		return -FI_ENOMEM;
	if (!(flags & FI_SOURCE))
		ofi_hint_source(n, hints);
	rc = fi_getinfo(OFI_API, host, port, flags, hints, info_out);
	fi_freeinfo(hints);
	return rc;
}

static void bound_address(struct ofi_net *n, const char *host, char out[NET_ADDRESS_MAX])
{
	struct sockaddr_storage ss;
	size_t bytes = sizeof ss;

	if (fi_getname(&n->pep->fid, &ss, &bytes) == 0)
		net_address_bound(host, &ss, out);
}

static enum status ofi_listen(struct net *net, const char *address, char bound_out[NET_ADDRESS_MAX],
			      struct error *err)
{
	struct ofi_net *n = net_of(net);
	char host[NET_ADDRESS_MAX], port[8], bound[NET_ADDRESS_MAX];
	struct fi_info *info;
	int rc;

	if (!net_address_split(address, host, port))
		return error_set(err, ST_BAD_PARAMETER, "listen address \"%s\" is not host:port",
				 address ? address : "");
	if (n->pep)
		return error_set(err, ST_STATE, "this transport listens already");
	rc = info_of(n, host, port, FI_SOURCE, &info);
	if (rc == -FI_ENODATA) {
		error_set(err, ST_BAD_PARAMETER,
			  "cannot listen on %s: provider %s has no such local address", address,
			  n->what->provider);
		return ST_BAD_PARAMETER;
	}
	if (rc != 0)
		return ofi_error(err, "cannot listen on", address, rc);
	rc = open_fabric(n, info);
	if (rc == 0)
		rc = fi_passive_ep(n->fabric, info, &n->pep, NULL);
	if (rc == 0)
		rc = fi_pep_bind(n->pep, &n->eq->fid, 0);
	if (rc == 0)
		rc = fi_listen(n->pep);
	fi_freeinfo(info);
	if (rc != 0) {
		if (n->pep)
			fi_close(&n->pep->fid);
		n->pep = NULL;
		return ofi_error(err, "cannot listen on", address, rc);
	}
	ofi_door_open(n);
	snprintf(bound, sizeof bound, "%s", address);
	bound_address(n, host, bound);
	memcpy(bound_out, bound, NET_ADDRESS_MAX);
	return ST_OK;
}

static enum status ofi_connect(struct net *net, const char *address, struct net_link **link_out,
			       struct error *err)
{
	struct ofi_net *n = net_of(net);
	char host[NET_ADDRESS_MAX], port[8];
	struct fi_info *info;
	struct ofi_link *l;
	int rc;

	if (!net_address_split(address, host, port))
		return error_set(err, ST_BAD_PARAMETER, "address \"%s\" is not host:port",
				 address ? address : "");
	rc = info_of(n, host, port, 0, &info);
	if (rc != 0) {
		error_set(err, ST_BAD_PARAMETER, "cannot resolve address %s: %s", address,
			  fi_strerror(abs(rc)));
		return ST_BAD_PARAMETER;
	}
	rc = open_fabric(n, info);
	if (rc != 0) {
		fi_freeinfo(info);
		return ofi_error(err, "cannot open the fabric to", address, rc);
	}
	l = ofi_link_new(n, info, address, &rc);
	if (l) {
		uint8_t knock[OFI_GATE_MAX];
		size_t bytes = ofi_gate_knock(l, knock);

		l->state = OFI_DIALLING;
		l->deadline_us = clock_now_us(&n->cfg.clock) + OFI_DIAL_US;
		n->dialling++;
		rc = fi_connect(l->ep, info->dest_addr, bytes ? knock : NULL, bytes);
		if (bytes)
			l->info = info; /* for the second request */
		if (rc != 0)
			ofi_link_break(l, ofi_status(rc) == ST_CONNECTION_REFUSED
						  ? ST_CONNECTION_REFUSED
						  : ST_CONNECTION);
	}
	if (!l || !l->info)
		fi_freeinfo(info);
	if (!l)
		return ofi_error(err, "cannot dial", address, rc);
	*link_out = &l->link;
	return ST_OK;
}

/* -- events ----------------------------------------------------------------------------------- */

static struct ofi_link *link_by_fid(struct ofi_net *n, fid_t fid)
{
	return map_find(&n->by_fid, (uint64_t)(uintptr_t)fid);
}

static void accept_request(struct ofi_net *n, struct fi_info *info, const uint8_t *data, size_t bytes)
{
	char peer[NET_ADDRESS_MAX];
	uint8_t reply[OFI_GATE_MAX];
	size_t reply_bytes;
	struct ofi_link *l;
	int rc;

	n->door.requests++;
	net_address_format(info->dest_addr, peer);
	if (ofi_gate_judge(n, peer, data, bytes, reply, &reply_bytes) != OFI_GATE_OPEN) {
		fi_reject(n->pep, info->handle, reply, reply_bytes);
		fi_freeinfo(info);
		return;
	}
	l = ofi_link_new(n, info, peer, &rc);
	if (!l) {
		log_event(n->cfg.log, LOG_NET, LOG_WARN, "cannot accept", "peer=%s error=%s", peer,
			  fi_strerror(-rc));
		/* with data: one without says to a dialler that nobody is there */
		fi_reject(n->pep, info->handle, reply, ofi_gate_busy(reply));
		fi_freeinfo(info);
		return;
	}
	l->state = OFI_ACCEPTING;
	l->link.accepted = true;
	rc = fi_accept(l->ep, reply_bytes ? reply : NULL, reply_bytes);
	if (rc != 0)
		ofi_link_close(l);
	fi_freeinfo(info);
}

/* By an engine that is there: it wants a proof, or says why not. */
static void rejected(struct ofi_link *l, const uint8_t *data, size_t bytes)
{
	uint8_t enter[OFI_GATE_MAX];
	enum status why;
	size_t enter_bytes = ofi_gate_answer(l, data, bytes, enter, &why);

	if (!enter_bytes)
		ofi_link_break(l, why);
	else if (ofi_link_redial(l, enter, enter_bytes) != 0)
		ofi_link_break(l, ST_CONNECTION);
}

/* An error names its endpoint, or nothing that we know any more. */
static void eq_error(struct ofi_net *n)
{
	struct fi_eq_err_entry e;
	uint8_t data[256];
	struct ofi_link *l;

	memset(&e, 0, sizeof e);
	e.err_data = data;
	e.err_data_size = sizeof data;
	if (fi_eq_readerr(n->eq, &e, 0) < 0)
		return;
	l = e.fid ? link_by_fid(n, e.fid) : NULL;
	if (!l)
		return;
	if (l->state == OFI_DIALLING && ofi_status(e.err) == ST_CONNECTION_REFUSED && e.err_data &&
	    e.err_data_size > 0 && *(const uint8_t *)e.err_data) /* zeros: nobody's words, but room of the fabric's */
		rejected(l, e.err_data, e.err_data_size);
	else if (l->state == OFI_DIALLING && ofi_status(e.err) == ST_CONNECTION_REFUSED)
		ofi_link_break(l, ST_CONNECTION_REFUSED);
	else
		ofi_link_break(l, ofi_status(e.err) == ST_WAIT ? ST_WAIT : ST_CONNECTION);
}

/* Before the library reads a byte of what the peer sent: it would believe it. */
static void end_endpoint(struct ofi_net *n, struct ofi_link *l)
{
	map_remove(&n->by_fid, (uint64_t)(uintptr_t)&l->ep->fid);
	fi_close(&l->ep->fid);
	l->ep = NULL;
}

static int read_events(struct ofi_net *n)
{
	int done = 0;

	ofi_door_knock(n);
	while (done < OFI_EVENTS_MAX) {
		union {
			struct fi_eq_cm_entry entry;
			uint8_t room[sizeof(struct fi_eq_cm_entry) + 256];
		} u;
		uint32_t event;
		struct ofi_link *l;
		ssize_t rc;
		size_t bytes;

		errno = 0; /* see ofi_door.c */
		rc = fi_eq_read(n->eq, &event, &u, sizeof u, 0);

		if (rc == -FI_EAVAIL) {
			eq_error(n);
			done++;
			continue;
		}
		if (rc < 0)
			return done;
		bytes = (size_t)rc > sizeof u.entry ? (size_t)rc - sizeof u.entry : 0;
		done++;
		switch (event) {
		case FI_CONNREQ:
			accept_request(n, u.entry.info, u.entry.data, bytes);
			break;
		case FI_CONNECTED:
			l = link_by_fid(n, u.entry.fid);
			if (l && l->state == OFI_DIALLING && !ofi_gate_passed(l, u.entry.data, bytes)) {
				ofi_link_break(l, ST_AUTH);
				end_endpoint(n, l);
			} else if (l) {
				ofi_link_up(l);
			}
			break;
		case FI_SHUTDOWN:
			l = link_by_fid(n, u.entry.fid);
			if (l)
				ofi_link_break(l, ST_CONNECTION);
			break;
		default:
			break;
		}
	}
	return done;
}

/* One batch of completions; 0: there were none. */
static int read_completions(struct ofi_net *n)
{
	struct fi_cq_msg_entry entries[BATCH];
	struct fi_cq_err_entry e;
	ssize_t rc = fi_cq_read(n->cq, entries, BATCH);

	if (rc > 0) {
		for (ssize_t i = 0; i < rc; i++)
			ofi_op_done((struct ofi_op *)entries[i].op_context, entries[i].len, true);
		return (int)rc;
	}
	if (rc != -FI_EAVAIL)
		return 0;
	memset(&e, 0, sizeof e);
	if (fi_cq_readerr(n->cq, &e, 0) <= 0)
		return 0;
	if (e.op_context)
		ofi_op_done((struct ofi_op *)e.op_context, 0, false);
	return 1;
}

/* After links were closed: what the fabric still says of them, then they are freed. */
static void drain_late(struct ofi_net *n)
{
	if (list_empty(&n->closed))
		return;
	while (n->cq && read_completions(n) > 0)
		;
	ofi_links_reap(n);
}

static int tell_broken(struct ofi_net *n)
{
	int done = 0;

	while (!list_empty(&n->broken)) {
		struct ofi_link *l = CONTAINER_OF(n->broken.next, struct ofi_link, broken);
		enum status why = l->why;

		ofi_link_close(l);
		n->cfg.events->down(n->cfg.ctx, &l->link,
				    why == ST_CONNECTION_REFUSED || why == ST_WAIT || why == ST_AUTH
					    ? why
					    : ST_CONNECTION);
		done++;
	}
	return done;
}

static int tell_drained(struct ofi_net *n)
{
	int done = 0;

	while (n->drained_pending) {
		struct ofi_link *found = NULL;

		LIST_FOREACH(it, &n->links) {
			struct ofi_link *l = CONTAINER_OF(it, struct ofi_link, all);

			if (l->tell_drained) {
				found = l;
				break;
			}
		}
		ASSERT(found);
		found->tell_drained = false;
		n->drained_pending--;
		/* What was sent since then will be told when it has drained, too. */
		if (found->state == OFI_UP && found->link.backlog_bytes <= NET_BACKLOG_LOW)
			n->cfg.events->drained(n->cfg.ctx, &found->link);
		done++;
	}
	return done;
}

static void check_dials(struct ofi_net *n)
{
	uint64_t now;

	if (!n->dialling)
		return;
	now = clock_now_us(&n->cfg.clock);
	LIST_FOREACH(it, &n->links) {
		struct ofi_link *l = CONTAINER_OF(it, struct ofi_link, all);

		if (l->state == OFI_DIALLING && now >= l->deadline_us)
			ofi_link_break(l, ST_WAIT);
	}
}

static int flush_all(struct ofi_net *n)
{
	int done = 0;

	LIST_FOREACH_SAFE(it, tmp, &n->dirty)
		done += ofi_link_flush(CONTAINER_OF(it, struct ofi_link, dirty));
	return done;
}

static int ofi_progress(struct net *net)
{
	struct ofi_net *n = net_of(net);
	int done = 0;

	ASSERT(!n->in_progress);
	n->in_progress = true;
	if (n->fabric) {
		for (int turn = 0; turn < TURNS_MAX; turn++) {
			int got = read_completions(n);

			done += got;
			if (got < BATCH)
				break; /* another look costs as much as the answer's way out */
		}
		if (!done || ++n->turns % EVENT_TURNS == 0) {
			done += read_events(n);
			ofi_door_turn(n);
		}
		check_dials(n);
		/*
		 * Everything that the callbacks of this turn wanted to send goes out at once (S17).
		 */
		done += flush_all(n);
		done += tell_drained(n);
		done += tell_broken(n);
		flush_all(n);
		drain_late(n);
	}
	n->in_progress = false;
	return done;
}

static int ofi_wait_fd(struct net *net)
{
	return net_of(net)->epoll_fd;
}

static bool ofi_try_wait(struct net *net)
{
	struct ofi_net *n = net_of(net);
	struct fid *fids[2];

	if (!n->fabric)
		return true;
	flush_all(n);
	if (n->drained_pending || !list_empty(&n->broken))
		return false;
	fids[0] = &n->eq->fid;
	fids[1] = &n->cq->fid;
	return fi_trywait(n->fabric, fids, 2) == FI_SUCCESS;
}

/* -- remote memory ---------------------------------------------------------------------------- */

static enum status ofi_expose(struct net *net, const void *base, size_t bytes, struct net_region **out)
{
	struct ofi_net *n = net_of(net);
	struct ofi_region *g;
	int rc;

	if (!n->domain)
		return ST_STATE;
	g = MEM_NEW(n->cfg.mem, struct ofi_region);
	rc = fi_mr_reg(n->domain, base, bytes, FI_REMOTE_READ, 0, ++n->keys, 0, &g->mr, NULL);
	if (rc != 0) {
		log_event(n->cfg.log, LOG_NET, LOG_DEBUG, "memory not registered", "bytes=%zu error=%s", bytes,
			  fi_strerror(-rc));
		MEM_FREE(n->cfg.mem, g);
		return ofi_status(rc) == ST_NOMEM ? ST_NOMEM : ST_SYSTEM;
	}
	g->region.key = fi_mr_key(g->mr);
	g->region.address = n->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uint64_t)(uintptr_t)base : 0;
	*out = &g->region;
	return ST_OK;
}

static void ofi_unexpose(struct net *net, struct net_region *region)
{
	struct ofi_region *g = CONTAINER_OF(region, struct ofi_region, region);

	fi_close(&g->mr->fid);
	MEM_FREE(net_of(net)->cfg.mem, g);
}

static void ofi_close_link(struct net_link *link)
{
	ofi_link_close(CONTAINER_OF(link, struct ofi_link, link));
}

const struct net_ops net_ops_ofi = {
	.name = "ofi",
	.open = ofi_open,
	.close = ofi_close,
	.listen = ofi_listen,
	.connect = ofi_connect,
	.send = ofi_link_send,
	.close_link = ofi_close_link,
	.progress = ofi_progress,
	.wait_fd = ofi_wait_fd,
	.try_wait = ofi_try_wait,
	.expose = ofi_expose,
	.unexpose = ofi_unexpose,
	.read = ofi_link_read,
};
