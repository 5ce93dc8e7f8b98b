/*
 * ucx_net.c - the transport over UCX: opening, addresses, events (net/ucx). See ucx_int.h.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/ucx/ucx_int.h"

#define TURNS_MAX 16 /* of the worker in one progress, so that the caller's loop gets its turn */

static struct ucx_net *net_of(struct net *net)
{
	return CONTAINER_OF(net, struct ucx_net, net);
}

/* -- open and close --------------------------------------------------------------------------- */

static void close_files(const struct ucx_net *n)
{
	const int fds[] = {n->door_fd, n->door_epoll_fd, n->epoll_fd};

	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static enum status ucx_open(const struct net_config *cfg, struct net **net_out, struct error *err)
{
	const struct net_fabric *what = net_fabric_of("ucx", cfg->provider);
	struct epoll_event ev = {.events = EPOLLIN};
	struct ucx_net *n;

	if (!what)
		return error_set(err, ST_BAD_PARAMETER,
				 "unknown fabric provider \"%s\" (tcp, verbs)", cfg->provider);
	n = MEM_NEW(cfg->mem, struct ucx_net);
	n->net.ops = &net_ops_ucx;
	n->cfg = *cfg;
	n->what = what;
	list_init(&n->links);
	list_init(&n->closed);
	list_init(&n->dirty);
	list_init(&n->broken);
	list_init(&n->pool);
	net_spare_init(&n->spare, cfg->mem);
	map_init(&n->by_ep, cfg->mem);
	n->door_fd = -1;
	n->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	n->door_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (n->epoll_fd < 0 || n->door_epoll_fd < 0 ||
	    epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, n->door_epoll_fd, &ev) != 0) {
		error_set(err, ST_SYSTEM, "cannot create an epoll descriptor: %s", strerror(errno));
		close_files(n);
		MEM_FREE(cfg->mem, n);
		return ST_SYSTEM;
	}
	n->aligned = mem_alloc(cfg->mem, what->caps.message_max);
	*net_out = &n->net;
	return ST_OK;
}

static ucs_status_t open_handlers(struct ucx_net *n)
{
	static const struct {
		unsigned id;
		ucp_am_recv_callback_t cb;
	} handlers[] = {
		{UCX_HELLO, ucx_on_hello},
		{UCX_PIECE, ucx_on_piece},
	};
	ucs_status_t st = UCS_OK;

	for (size_t i = 0; i < sizeof handlers / sizeof handlers[0] && st == UCS_OK; i++) {
		ucp_am_handler_param_t p = {
			.field_mask =
				UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
				UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
			.id = handlers[i].id,
			.flags = UCP_AM_FLAG_WHOLE_MSG,
			.cb = handlers[i].cb,
			.arg = n,
		};

		st = ucp_worker_set_am_recv_handler(n->worker, &p);
	}
	return st;
}

static ucs_status_t open_worker(struct ucx_net *n)
{
	ucp_worker_params_t params = {
		.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE | UCP_WORKER_PARAM_FIELD_FLAGS,
		.thread_mode = UCS_THREAD_MODE_SINGLE,
		.flags = UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK,
	};
	struct epoll_event ev = {.events = EPOLLIN};
	ucs_status_t st = ucp_worker_create(n->context, &params, &n->worker);
	int fd;

	if (st != UCS_OK)
		return st;
	st = open_handlers(n);
	if (st == UCS_OK)
		st = ucp_worker_get_efd(n->worker, &fd);
	if (st == UCS_OK && epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		st = UCS_ERR_IO_ERROR;
	return st;
}

static void close_worker(struct ucx_net *n)
{
	if (n->worker)
		ucp_worker_destroy(n->worker);
	if (n->context)
		ucp_cleanup(n->context);
	n->worker = NULL;
	n->context = NULL;
}

/* The context of the first address; it serves all others, too. */
static enum status open_fabric(struct ucx_net *n, const struct sockaddr *local, const char *what,
			       const char *address, struct error *err)
{
	char text[NET_ADDRESS_MAX];
	ucs_status_t st;

	if (n->worker)
		return ST_OK;
	error_clear(err);
	st = ucx_context_open(n, local, err);
	if (st == UCS_OK)
		st = open_worker(n);
	if (st != UCS_OK) {
		close_worker(n);
		return err->code != ST_OK ? err->code : ucx_error(err, what, address, st);
	}
	net_address_format(local, text);
	log_event(n->cfg.log, LOG_NET, LOG_INFO, "fabric open", "provider=%s local=%s",
		  n->what->name, text);
	return ST_OK;
}

static void ucx_close(struct net *net)
{
	struct ucx_net *n = net_of(net);
	uint64_t end = clock_now_us(&n->cfg.clock) + UCX_CLOSE_US;

	ASSERT(!n->in_progress);
	while (!list_empty(&n->links))
		ucx_link_close(CONTAINER_OF(n->links.next, struct ucx_link, all));
	for (uint32_t i = 0; i < n->accept_count; i++)
		ucp_listener_reject(n->listener, n->accepts[i]);
	if (n->listener)
		ucp_listener_destroy(n->listener);
	ucx_links_reap(n);
	while (!list_empty(&n->closed) && clock_now_us(&n->cfg.clock) < end) {
		ucp_worker_progress(n->worker);
		ucx_links_reap(n);
	}
	close_worker(n); /* what it had to say is said */
	while (!list_empty(&n->closed))
		ucx_link_free(CONTAINER_OF(n->closed.next, struct ucx_link, all));
	ucx_pool_fini(n);
	net_spare_fini(&n->spare);
	close_files(n);
	map_fini(&n->by_ep);
	mem_free(n->cfg.mem, n->aligned, n->what->caps.message_max);
	MEM_FREE(n->cfg.mem, n);
}

/* -- addresses -------------------------------------------------------------------------------- */

/* Numeric hosts cost nothing; a name is resolved here and may block for as long as the resolver takes. */
static enum status resolve(const char *what, const char *address, struct addrinfo **out,
			   char host[NET_ADDRESS_MAX], struct error *err)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	char port[8];
	int rc;

	if (!net_address_split(address, host, port))
		return error_set(err, ST_BAD_PARAMETER, "%s \"%s\" is not host:port", what,
				 address ? address : "");
	rc = getaddrinfo(host, port, &hints, out);
	if (rc != 0)
		return error_set(err, ST_BAD_PARAMETER, "cannot resolve address %s: %s", address,
				 gai_strerror(rc));
	return ST_OK;
}

/* Further ones are rejected: the dialler hears that at once and dials again. */
static void on_connection(ucp_conn_request_h request, void *arg)
{
	struct ucx_net *n = arg;

	if (n->accept_count < UCX_ACCEPTS_MAX)
		n->accepts[n->accept_count++] = request;
	else
		ucp_listener_reject(n->listener, request);
}

/* UCX's listener first: nobody is let in at the door before it is there. */
static enum status listen_at(struct ucx_net *n, const char *address, const struct addrinfo *at,
			     struct error *err)
{
	struct sockaddr_storage any;
	ucp_listener_attr_t attr = {.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR};
	ucp_listener_params_t params = {
		.field_mask =
			UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER,
		.sockaddr = {(const struct sockaddr *)&any, at->ai_addrlen},
		.conn_handler = {on_connection, n},
	};
	enum status st = open_fabric(n, at->ai_addr, "cannot listen on", address, err);
	ucs_status_t rc;
	int error;

	if (st != ST_OK)
		return st;
	memcpy(&any, at->ai_addr, at->ai_addrlen);
	net_address_set_port(&any, 0);
	rc = ucp_listener_create(n->worker, &params, &n->listener);
	if (rc == UCS_OK)
		rc = ucp_listener_query(n->listener, &attr);
	if (rc != UCS_OK)
		return ucx_error(err, "cannot listen on", address, rc);
	n->ucx_port = net_address_port(&attr.sockaddr);
	error = ucx_door_open(n, at->ai_addr, at->ai_addrlen);
	if (!error)
		return ST_OK;
	if (error == EADDRINUSE) {
		error_set(err, ST_STATE, "cannot listen on %s: the address is in use", address);
		error_hint(err, "Stop the process that listens there, or choose another port.");
		return ST_STATE;
	}
	return error_set(err, ST_BAD_PARAMETER, "cannot listen on %s: %s", address,
			 strerror(error));
}

static enum status ucx_listen(struct net *net, const char *address, char bound_out[NET_ADDRESS_MAX],
			      struct error *err)
{
	struct ucx_net *n = net_of(net);
	socklen_t bytes = sizeof n->local;
	char host[NET_ADDRESS_MAX], bound[NET_ADDRESS_MAX];
	struct addrinfo *list;
	enum status st;

	if (n->door_fd >= 0)
		return error_set(err, ST_STATE, "this transport listens already");
	st = resolve("listen address", address, &list, host, err);
	if (st != ST_OK)
		return st;
	st = listen_at(n, address, list, err);
	freeaddrinfo(list);
	if (st != ST_OK) {
		if (n->listener)
			ucp_listener_destroy(n->listener);
		n->listener = NULL;
		return st;
	}
	snprintf(bound, sizeof bound, "%s", address);
	if (getsockname(n->door_fd, (struct sockaddr *)&n->local, &bytes) == 0)
		net_address_bound(host, &n->local, bound);
	n->local_bytes = bytes;
	memcpy(bound_out, bound, NET_ADDRESS_MAX);
	return ST_OK;
}

static enum status ucx_connect(struct net *net, const char *address, struct net_link **link_out,
			       struct error *err)
{
	struct ucx_net *n = net_of(net);
	struct sockaddr_storage local;
	char host[NET_ADDRESS_MAX];
	struct addrinfo *list;
	enum status st = resolve("address", address, &list, host, err);

	if (st != ST_OK)
		return st;
	if (!n->worker && !ucx_local_of(list->ai_addr, list->ai_addrlen, &local))
		memset(&local, 0, sizeof local);
	st = open_fabric(n, (const struct sockaddr *)&local, "cannot open the fabric to", address,
			 err);
	if (st == ST_OK) {
		struct ucx_link *l = ucx_link_new(n, address, UCX_DIALLING);

		st = ucx_door_dial(l, list->ai_addr, list->ai_addrlen);
		if (st != ST_OK)
			ucx_link_break(l, st);
		*link_out = &l->link;
		st = ST_OK;
	}
	freeaddrinfo(list);
	return st;
}

/* -- events ----------------------------------------------------------------------------------- */

/* Who it is, its hello says. */
static void accept_one(struct ucx_net *n, ucp_conn_request_h request)
{
	ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST,
				  .conn_request = request};
	struct ucx_link *l = ucx_link_new(n, "unknown", UCX_ACCEPTING);
	ucs_status_t st = ucx_link_open(l, &params);

	if (st == UCS_OK)
		return;
	log_event(n->cfg.log, LOG_NET, LOG_WARN, "cannot accept", "error=%s",
		  ucs_status_string(st));
	ucx_link_close(l);
}

static int accept_all(struct ucx_net *n)
{
	uint32_t count = n->accept_count;

	n->accept_count = 0;
	for (uint32_t i = 0; i < count; i++)
		accept_one(n, n->accepts[i]);
	return (int)count;
}

static int tell_broken(struct ucx_net *n)
{
	int done = 0;

	while (!list_empty(&n->broken)) {
		struct ucx_link *l = CONTAINER_OF(n->broken.next, struct ucx_link, broken);
		enum status why = l->why;

		ucx_link_close(l);
		n->cfg.events->down(n->cfg.ctx, &l->link,
				    why == ST_CONNECTION_REFUSED || why == ST_WAIT ? why
										   : ST_CONNECTION);
		done++;
	}
	return done;
}

static struct ucx_link *drained_next(struct ucx_net *n)
{
	LIST_FOREACH(it, &n->links) {
		struct ucx_link *l = CONTAINER_OF(it, struct ucx_link, all);

		if (l->tell_drained)
			return l;
	}
	return NULL;
}

static int tell_drained(struct ucx_net *n)
{
	int done = 0;

	for (; n->drained_pending; n->drained_pending--, done++) {
		struct ucx_link *l = drained_next(n);

		ASSERT(l);
		l->tell_drained = false;
		/* What was sent since then will be told when it has drained, too. */
		if (l->state == UCX_UP && l->link.backlog_bytes <= NET_BACKLOG_LOW)
			n->cfg.events->drained(n->cfg.ctx, &l->link);
	}
	return done;
}

static void check_deadlines(struct ucx_net *n)
{
	uint64_t now;

	if (!n->waiting)
		return;
	now = clock_now_us(&n->cfg.clock);
	LIST_FOREACH_SAFE(it, tmp, &n->links) {
		struct ucx_link *l = CONTAINER_OF(it, struct ucx_link, all);

		if (l->deadline_us && now >= l->deadline_us)
			ucx_link_break(l, ST_WAIT);
	}
}

static int flush_all(struct ucx_net *n)
{
	int done = 0;

	LIST_FOREACH_SAFE(it, tmp, &n->dirty)
		done += ucx_link_flush(CONTAINER_OF(it, struct ucx_link, dirty));
	return done;
}

int ucx_worker_progress(struct ucx_net *n)
{
	int done = 0;

	for (int turn = 0; turn < TURNS_MAX; turn++) {
		int got = (int)ucp_worker_progress(n->worker);

		if (!got)
			break;
		done += got;
	}
	return done;
}

static int ucx_progress(struct net *net)
{
	struct ucx_net *n = net_of(net);
	int done = 0;

	ASSERT(!n->in_progress);
	n->in_progress = true;
	if (n->worker) {
		/* once: a look that finds nothing would cost an answer as much as its way out */
		done += (int)ucp_worker_progress(n->worker);
		if (!done || ++n->turns % UCX_DOOR_TURNS == 0)
			done += ucx_door_progress(n);
		done += accept_all(n);
		check_deadlines(n);
		/* Everything that the callbacks of this turn wanted to send goes out at once (S17). */
		done += flush_all(n);
		done += tell_drained(n);
		done += tell_broken(n);
		flush_all(n);
		/* at once, so that UCX's thread keeps nothing for what is closed (README) */
		if (ucx_links_reap(n))
			done += ucx_worker_progress(n);
	}
	n->in_progress = false;
	return done;
}

static int ucx_wait_fd(struct net *net)
{
	return net_of(net)->epoll_fd;
}

static bool ucx_try_wait(struct net *net)
{
	struct ucx_net *n = net_of(net);

	if (!n->worker)
		return true;
	flush_all(n);
	ucx_links_reap(n);
	if (n->drained_pending || !list_empty(&n->broken) || !list_empty(&n->closed))
		return false;
	return ucp_worker_arm(n->worker) == UCS_OK;
}

static void ucx_close_link(struct net_link *link)
{
	ucx_link_close(CONTAINER_OF(link, struct ucx_link, link));
}

const struct net_ops net_ops_ucx = {
	.name = "ucx",
	.open = ucx_open,
	.close = ucx_close,
	.listen = ucx_listen,
	.connect = ucx_connect,
	.send = ucx_link_send,
	.close_link = ucx_close_link,
	.progress = ucx_progress,
	.wait_fd = ucx_wait_fd,
	.try_wait = ucx_try_wait,
};
