/*
 * ucx_link.c - links of the UCX back end: pieces in and out (net/ucx). See ucx_int.h.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "net/ucx/ucx_int.h"

static uint32_t piece_bytes(const struct ucx_net *n)
{
	return n->what->caps.message_max;
}

/* -- ops -------------------------------------------------------------------------------------- */

static struct ucx_op *op_new(struct ucx_net *n, enum ucx_op_kind kind)
{
	struct ucx_op *op = mem_try_alloc(n->cfg.mem, sizeof *op);

	if (!op)
		return NULL;
	list_init(&op->l);
	op->kind = kind;
	if (kind != UCX_SEND_BUFFER)
		return op;
	op->data = mem_try_alloc_raw(n->cfg.mem, piece_bytes(n));
	if (op->data)
		return op;
	MEM_FREE(n->cfg.mem, op);
	return NULL;
}

static void op_free(struct ucx_net *n, struct ucx_op *op)
{
	list_remove(&op->l);
	if (op->msg)
		net_msg_unref(op->msg);
	if (op->data)
		mem_free(n->cfg.mem, op->data, piece_bytes(n));
	MEM_FREE(n->cfg.mem, op);
}

static struct ucx_op *buffer_get(struct ucx_net *n)
{
	struct list *first = list_first(&n->pool);
	struct ucx_op *op;

	if (first) {
		list_remove(first);
		return CONTAINER_OF(first, struct ucx_op, l);
	}
	if (n->buffers == UCX_BUFFERS_MAX)
		return NULL;
	op = op_new(n, UCX_SEND_BUFFER);
	if (op)
		n->buffers++;
	return op;
}

/* Back to where it came from. */
static void op_release(struct ucx_net *n, struct ucx_op *op)
{
	if (op->kind != UCX_SEND_BUFFER) {
		op_free(n, op);
		return;
	}
	if (op->msg)
		net_msg_unref(op->msg);
	op->msg = NULL;
	op->link = NULL;
	list_remove(&op->l);
	list_push_front(&n->pool, &op->l);
}

void ucx_pool_fini(struct ucx_net *n)
{
	while (!list_empty(&n->pool)) {
		op_free(n, CONTAINER_OF(n->pool.next, struct ucx_op, l));
		n->buffers--;
	}
}

/* -- life ------------------------------------------------------------------------------------- */

static void deadline_end(struct ucx_link *l)
{
	if (l->deadline_us)
		l->net->waiting--;
	l->deadline_us = 0;
}

struct ucx_link *ucx_link_new(struct ucx_net *n, const char *peer, enum ucx_state state)
{
	struct ucx_link *l = MEM_NEW(n->cfg.mem, struct ucx_link);
	struct net_cut cut = {n->what->caps.message_max, n->what->caps.slice_max};

	l->link.ops = &net_ops_ucx;
	l->link.net = &n->net;
	l->link.accepted = state == UCX_ACCEPTING;
	snprintf(l->link.peer, sizeof l->link.peer, "%s", peer);
	l->net = n;
	l->state = state;
	l->fd = -1;
	l->deadline_us = clock_now_us(&n->cfg.clock) + UCX_DIAL_US;
	n->waiting++;
	list_init(&l->dirty);
	list_init(&l->broken);
	list_init(&l->ops);
	net_out_init(&l->out, &l->link, n->cfg.mem, cut, true);
	net_in_init(&l->in, &l->link, &n->spare, cut);
	list_push_back(&n->links, &l->all);
	return l;
}

/* May come at any time until the endpoint is closed, for one that never was up, too. Refused is what the door says. */
static void on_error(void *arg, ucp_ep_h ep, ucs_status_t st)
{
	struct ucx_link *l = arg;

	(void)ep;
	ucx_link_break(l, l->state == UCX_DIALLING && st == UCS_ERR_TIMED_OUT ? ST_WAIT
									      : ST_CONNECTION);
}

ucs_status_t ucx_link_open(struct ucx_link *l, ucp_ep_params_t *params)
{
	ucs_status_t st;

	params->field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
	params->err_mode = UCP_ERR_HANDLING_MODE_PEER;
	params->err_handler.cb = on_error;
	params->err_handler.arg = l;
	st = ucp_ep_create(l->net->worker, params, &l->ep);
	if (st != UCS_OK) {
		l->ep = NULL;
		return st;
	}
	map_put(&l->net->by_ep, (uint64_t)(uintptr_t)l->ep, l);
	if (l->state == UCX_DIALLING) {
		l->hello_due = true;
		list_push_back(&l->net->dirty, &l->dirty);
	}
	return UCS_OK;
}

void ucx_link_dial(struct ucx_link *l, uint16_t port)
{
	struct ucx_net *n = l->net;
	struct sockaddr_storage from = n->local;
	ucp_ep_params_t params = {
		.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR,
		.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER,
		.sockaddr = {(const struct sockaddr *)&l->to, l->to_bytes},
	};

	net_address_set_port(&l->to, port);
	if (n->what->caps.source_address && n->listener) {
		net_address_set_port(&from, 0);
		params.field_mask |= UCP_EP_PARAM_FIELD_LOCAL_SOCK_ADDR;
		params.local_sockaddr.addr = (const struct sockaddr *)&from;
		params.local_sockaddr.addrlen = n->local_bytes;
	}
	if (ucx_link_open(l, &params) != UCS_OK)
		ucx_link_break(l, ST_CONNECTION);
}

void ucx_link_close(struct ucx_link *l)
{
	struct ucx_net *n = l->net;

	if (l->state == UCX_CLOSED)
		return;
	deadline_end(l);
	if (l->tell_drained)
		n->drained_pending--;
	l->tell_drained = false;
	l->state = UCX_CLOSED;
	ucx_door_leave(l);
	list_remove(&l->dirty);
	list_remove(&l->broken);
	net_out_drop(&l->out);
	list_remove(&l->all);
	list_push_back(&n->closed, &l->all);
}

/* True: no callback names this endpoint any more. */
static bool endpoint_closed(struct ucx_link *l)
{
	ucp_request_param_t how = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
				   .flags = UCP_EP_CLOSE_FLAG_FORCE};

	if (l->closing) {
		if (ucp_request_check_status(l->closing) == UCS_INPROGRESS)
			return false;
		ucp_request_free(l->closing);
		l->closing = NULL;
		return true;
	}
	if (!l->ep)
		return true;
	map_remove(&l->net->by_ep, (uint64_t)(uintptr_t)l->ep);
	l->closing = ucp_ep_close_nbx(l->ep, &how);
	l->ep = NULL;
	if (UCS_PTR_IS_PTR(l->closing))
		return false;
	l->closing = NULL; /* at once, or an error: it is gone */
	return true;
}

void ucx_link_free(struct ucx_link *l)
{
	struct ucx_net *n = l->net;

	while (!list_empty(&l->ops))
		op_release(n, CONTAINER_OF(l->ops.next, struct ucx_op, l));
	net_in_fini(&l->in);
	list_remove(&l->all);
	MEM_FREE(n->cfg.mem, l);
}

/* Closes the endpoints of links that were closed, and frees those that UCX is done with. */
bool ucx_links_reap(struct ucx_net *n)
{
	bool some = !list_empty(&n->closed);

	LIST_FOREACH_SAFE(it, tmp, &n->closed) {
		struct ucx_link *l = CONTAINER_OF(it, struct ucx_link, all);

		if (endpoint_closed(l) && list_empty(&l->ops))
			ucx_link_free(l);
	}
	return some;
}

void ucx_link_break(struct ucx_link *l, enum status why)
{
	if (l->state == UCX_BROKEN || l->state == UCX_CLOSED)
		return;
	if (l->state == UCX_ACCEPTING) { /* nobody knows it yet */
		ucx_link_close(l);
		return;
	}
	deadline_end(l);
	l->state = UCX_BROKEN;
	l->why = why;
	list_remove(&l->dirty);
	net_out_drop(&l->out);
	list_push_back(&l->net->broken, &l->broken);
}

static void make_dirty(struct ucx_link *l)
{
	if (list_empty(&l->dirty))
		list_push_back(&l->net->dirty, &l->dirty);
}

static void up(struct ucx_link *l)
{
	struct ucx_net *n = l->net;
	bool dialled = l->state == UCX_DIALLING;

	deadline_end(l);
	l->state = UCX_UP;
	l->hello_due = !dialled; /* the answer */
	if (l->hello_due || !net_out_empty(&l->out))
		make_dirty(l);
	if (dialled)
		n->cfg.events->up(n->cfg.ctx, &l->link);
	else
		n->cfg.events->accepted(n->cfg.ctx, &l->link);
}

/* -- out -------------------------------------------------------------------------------------- */

void ucx_link_send(struct net_link *link, struct net_msg *msg)
{
	struct ucx_link *l = CONTAINER_OF(link, struct ucx_link, link);

	ASSERT_OP(msg->bytes, <=, NET_MESSAGE_MAX);
	if (l->state != UCX_UP && l->state != UCX_DIALLING) {
		net_msg_unref(msg);
		return;
	}
	net_out_push(&l->out, msg);
	if (l->state == UCX_UP)
		make_dirty(l);
}

static void op_done(struct ucx_op *op, ucs_status_t st)
{
	struct ucx_link *l = op->link;

	if (op->kind != UCX_SEND_HELLO)
		l->tx_pieces--;
	op_release(l->net, op);
	if (st != UCS_OK)
		ucx_link_break(l, ST_CONNECTION);
}

static void on_sent(void *request, ucs_status_t st, void *arg)
{
	ucp_request_free(request);
	op_done(arg, st);
}

/* UCX has the op then, or is done with it already. Otherwise it is the caller's still. */
static ucs_status_t op_send(struct ucx_link *l, struct ucx_op *op, enum ucx_message id,
			    const struct net_piece *p)
{
	ucp_request_param_t how = {
		.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK |
				UCP_OP_ATTR_FIELD_USER_DATA,
		.flags = UCP_AM_SEND_FLAG_REPLY | UCP_AM_SEND_FLAG_EAGER,
		.cb.send = on_sent,
		.user_data = op,
	};
	const void *data = op->data;
	size_t count = p->copied_bytes;
	void *request;

	if (p->lent && p->copied_bytes) {
		op->parts[0] = (ucp_dt_iov_t){op->data, p->copied_bytes};
		op->parts[1] = (ucp_dt_iov_t){(void *)(uintptr_t)p->lent, p->lent_bytes};
		how.op_attr_mask |= UCP_OP_ATTR_FIELD_DATATYPE;
		how.datatype = ucp_dt_make_iov();
		data = op->parts;
		count = 2;
	} else if (p->lent) {
		data = p->lent;
		count = p->lent_bytes;
	}
	op->msg = p->msg ? net_msg_ref(p->msg) : NULL;
	request = ucp_am_send_nbx(l->ep, id, &op->head, sizeof op->head, data, count, &how);
	if (UCS_PTR_IS_ERR(request))
		return UCS_PTR_STATUS(request);
	op->link = l;
	list_push_back(&l->ops, &op->l);
	if (op->kind != UCX_SEND_HELLO)
		l->tx_pieces++;
	if (!request)
		op_done(op, UCS_OK);
	return UCS_OK;
}

static ucs_status_t flush_hello(struct ucx_link *l)
{
	struct ucx_op *op = op_new(l->net, UCX_SEND_HELLO);
	ucs_status_t st;

	if (!op)
		return UCS_ERR_NO_RESOURCE;
	op->head = (struct ucx_head){UCX_MAGIC, l->token};
	st = op_send(l, op, UCX_HELLO, &(struct net_piece){.lent = NULL});
	if (st == UCS_OK)
		l->hello_due = false;
	else
		op_free(l->net, op);
	return st;
}

static ucs_status_t flush_piece(struct ucx_link *l)
{
	bool whole = net_out_lends(&l->out);
	struct ucx_op *op = whole ? op_new(l->net, UCX_SEND_DIRECT) : buffer_get(l->net);
	struct net_piece p;
	ucs_status_t st;

	if (!op)
		return UCS_ERR_NO_RESOURCE;
	net_out_next(&l->out, op->data, &p);
	op->head = (struct ucx_head){UCX_MAGIC, l->tx_number};
	st = op_send(l, op, UCX_PIECE, &p);
	if (st != UCS_OK) {
		op_release(l->net, op);
		return st;
	}
	l->tx_number++;
	net_out_take(&l->out, &p);
	return UCS_OK;
}

/* Gives UCX what it takes of the queue. Returns how many pieces. */
int ucx_link_flush(struct ucx_link *l)
{
	uint32_t most = l->net->what->caps.in_flight_max;
	ucs_status_t st = UCS_OK;
	int done = 0;

	if (l->hello_due)
		st = flush_hello(l);
	while (st == UCS_OK && l->state == UCX_UP && !net_out_empty(&l->out) &&
	       l->tx_pieces < most) {
		st = flush_piece(l);
		l->net->net.sends += st == UCS_OK;
		done += st == UCS_OK;
	}
	if (st != UCS_OK && st != UCS_ERR_NO_RESOURCE) {
		ucx_link_break(l, ST_CONNECTION);
		return done + 1;
	}
	if (!l->hello_due && (l->state != UCX_UP || net_out_empty(&l->out)))
		list_remove(&l->dirty);
	if (!l->tell_drained && net_out_drained(&l->out)) {
		l->tell_drained = true;
		l->net->drained_pending++;
	}
	return done;
}

/* -- in --------------------------------------------------------------------------------------- */

static bool deliver(void *ctx, const void *data, uint32_t bytes)
{
	struct ucx_link *l = ctx;

	l->net->cfg.events->message(l->net->cfg.ctx, &l->link, data, bytes);
	return l->state == UCX_UP;
}

static void bad_stream(struct ucx_link *l, const char *what)
{
	log_event(l->net->cfg.log, LOG_NET, LOG_WARN, "bad stream", "peer=%s cause=\"%s\"",
		  l->link.peer, what);
	ucx_link_break(l, ST_PROTOCOL);
}

/* The link that a message came on; NULL: it is closed, or the message is none of ours. */
static struct ucx_link *link_of(struct ucx_net *n, const void *head, size_t head_bytes,
				const ucp_am_recv_param_t *param, struct ucx_head *head_out)
{
	struct ucx_link *l;

	if (!(param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP))
		return NULL;
	l = map_find(&n->by_ep, (uint64_t)(uintptr_t)param->reply_ep);
	if (!l || l->state == UCX_BROKEN || l->state == UCX_CLOSED)
		return NULL;
	memset(head_out, 0, sizeof *head_out);
	if (head_bytes == sizeof *head_out)
		memcpy(head_out, head, sizeof *head_out);
	if (head_out->magic == UCX_MAGIC && !(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV))
		return l;
	bad_stream(l, "not a message of this version");
	return NULL;
}

ucs_status_t ucx_on_hello(void *arg, const void *head, size_t head_bytes, void *data, size_t bytes,
			  const ucp_am_recv_param_t *param)
{
	struct ucx_head h;
	struct ucx_link *l = link_of(arg, head, head_bytes, param, &h);

	(void)data;
	if (!l)
		return UCS_OK;
	if (bytes || (l->state != UCX_DIALLING && l->state != UCX_ACCEPTING))
		bad_stream(l, "a second hello");
	else if (l->state == UCX_ACCEPTING && !ucx_door_admit(l, h.number))
		ucx_link_close(l); /* its lifeline has ended already */
	else
		up(l);
	return UCS_OK;
}

ucs_status_t ucx_on_piece(void *arg, const void *head, size_t head_bytes, void *data, size_t bytes,
			  const ucp_am_recv_param_t *param)
{
	struct ucx_net *n = arg;
	struct ucx_head h;
	struct ucx_link *l = link_of(n, head, head_bytes, param, &h);
	enum status st;

	if (!l)
		return UCS_OK;
	if (l->state != UCX_UP || h.number != l->rx_number || bytes > piece_bytes(n)) {
		bad_stream(l, "a piece out of order");
		return UCS_OK;
	}
	l->rx_number++;
	l->link.rx_bytes += bytes;
	/* Whole messages are given up as they lie, and are read there as what they hold. */
	if (((uintptr_t)data & 7) && l->in.bytes - l->in.have < bytes)
		data = memcpy(n->aligned, data, bytes);
	st = net_in_take(&l->in, data, bytes, deliver, l);
	if (st == ST_NOMEM) {
		log_event(n->cfg.log, LOG_NET, LOG_ERROR, "no memory for a message", "peer=%s",
			  l->link.peer);
		ucx_link_break(l, ST_NOMEM);
	} else if (st != ST_OK) {
		bad_stream(l, "no head of a message");
	}
	return UCS_OK;
}
