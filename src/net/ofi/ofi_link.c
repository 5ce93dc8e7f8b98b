/*
 * ofi_link.c - links of the libfabric back end: pieces in and out (net/ofi). See ofi_int.h.
 */
#include <stdio.h>

#include "base/assert.h"
#include "base/poison.h"
#include "net/ofi/ofi_int.h"

static uint32_t piece_bytes(const struct ofi_net *n)
{
	return n->what->caps.message_max;
}

static struct net_cut cut(const struct ofi_net *n)
{
	return (struct net_cut){n->what->caps.message_max, n->what->caps.slice_max};
}

/* -- ops -------------------------------------------------------------------------------------- */

static struct ofi_op *op_new(struct ofi_net *n, bool with_data)
{
	struct ofi_op *op = mem_try_alloc(n->cfg.mem, sizeof *op);

	if (!op)
		return NULL;
	list_init(&op->l);
	if (!with_data)
		return op;
	op->data = mem_try_alloc_raw(n->cfg.mem, piece_bytes(n));
	if (op->data && n->register_memory &&
	    fi_mr_reg(n->domain, op->data, piece_bytes(n), FI_SEND | FI_RECV | FI_READ, 0, 0, 0, &op->mr,
		      NULL) != 0) {
		mem_free(n->cfg.mem, op->data, piece_bytes(n));
		op->data = NULL;
		op->mr = NULL;
	}
	if (!op->data) {
		MEM_FREE(n->cfg.mem, op);
		return NULL;
	}
	return op;
}

static void op_free(struct ofi_net *n, struct ofi_op *op)
{
	list_remove(&op->l);
	if (op->msg)
		net_msg_unref(op->msg);
	if (op->mr)
		fi_close(&op->mr->fid);
	if (op->data && op->kind != OFI_RECV_SLICE)
		mem_free(n->cfg.mem, op->data, piece_bytes(n));
	MEM_FREE(n->cfg.mem, op);
}

static void *op_desc(const struct ofi_op *op)
{
	return op->mr ? fi_mr_desc(op->mr) : NULL;
}

static struct ofi_op *buffer_get(struct ofi_net *n)
{
	struct list *first = list_first(&n->pool);
	struct ofi_op *op;

	if (first) {
		list_remove(first);
		op = CONTAINER_OF(first, struct ofi_op, l);
		UNPOISON(op->data, piece_bytes(n));
		return op;
	}
	if (n->buffers == OFI_BUFFERS_MAX)
		return NULL;
	op = op_new(n, true);
	if (op) {
		op->kind = OFI_SEND_BUFFER;
		n->buffers++;
	}
	return op;
}

static void buffer_put(struct ofi_net *n, struct ofi_op *op)
{
	if (op->msg)
		net_msg_unref(op->msg);
	op->msg = NULL;
	op->link = NULL;
	op->kind = OFI_SEND_BUFFER;
	POISON(op->data, piece_bytes(n));
	list_remove(&op->l);
	list_push_front(&n->pool, &op->l);
}

void ofi_pool_fini(struct ofi_net *n)
{
	while (!list_empty(&n->pool)) {
		op_free(n, CONTAINER_OF(n->pool.next, struct ofi_op, l));
		n->buffers--;
	}
}

/* -- life ------------------------------------------------------------------------------------- */

static int post_recv(struct ofi_link *l, struct ofi_op *op)
{
	uint32_t bytes = op->kind == OFI_RECV_SLICE ? op->bytes : piece_bytes(l->net);
	int rc = (int)fi_recv(l->ep, op->data, bytes, op_desc(op), 0, &op->context);

	if (rc == 0) {
		op->link = l;
		op->dial = l->dial;
		list_remove(&op->l);
		list_push_back(&l->ops, &op->l);
		l->rx_posted++;
	}
	return rc;
}

/* Into the message itself: it is not copied then. */
static struct ofi_op *recv_slice(struct ofi_link *l, uint8_t *place, uint32_t bytes)
{
	struct ofi_op *op = op_new(l->net, false);

	if (op) {
		op->kind = OFI_RECV_SLICE;
		op->data = place;
		op->bytes = bytes;
	}
	return op;
}

static struct ofi_op *recv_buffer(struct ofi_link *l, uint32_t most)
{
	struct list *first = list_first(&l->idle);
	struct ofi_op *op;

	if (first) {
		list_remove(first);
		return CONTAINER_OF(first, struct ofi_op, l);
	}
	op = l->rx_buffers < most ? op_new(l->net, true) : NULL;
	if (op) {
		op->kind = OFI_RECV;
		l->rx_buffers++;
	}
	return op;
}

/* As many receives as there may be. What is posted stays in order: so where each piece goes is known beforehand. */
static int post_more(struct ofi_link *l, uint32_t buffers)
{
	int rc = 0;

	while (l->rx_posted < OFI_RX_PIECES && rc == 0) {
		uint8_t *place = NULL;
		uint32_t bytes = 0;
		enum net_next next = net_in_next(&l->in, l->rx_posted, &place, &bytes);
		struct ofi_op *op;

		if (next == NET_NEXT_UNKNOWN)
			return 0;
		op = next == NET_NEXT_SLICE ? recv_slice(l, place, bytes) : recv_buffer(l, buffers);
		if (!op)
			return l->rx_posted ? 0 : -FI_ENOMEM; /* fewer are slower, and enough */
		rc = post_recv(l, op);
		if (rc != 0) {
			l->rx_buffers -= op->kind == OFI_RECV;
			op_free(l->net, op);
		}
	}
	return rc;
}

static int open_endpoint(struct ofi_link *l, struct fi_info *info)
{
	struct ofi_net *n = l->net;
	int rc = fi_endpoint(n->domain, info, &l->ep, l);

	if (rc == 0)
		rc = fi_ep_bind(l->ep, &n->eq->fid, 0);
	if (rc == 0)
		rc = fi_ep_bind(l->ep, &n->cq->fid, FI_TRANSMIT | FI_RECV);
	if (rc == 0)
		rc = fi_enable(l->ep);
	if (rc == 0)
		rc = post_more(l, OFI_RX_FIRST); /* before the peer can send */
	return rc;
}

struct ofi_link *ofi_link_new(struct ofi_net *n, struct fi_info *info, const char *peer,
			      int *rc_out)
{
	struct ofi_link *l = MEM_NEW(n->cfg.mem, struct ofi_link);

	l->link.ops = &net_ops_ofi;
	l->link.net = &n->net;
	snprintf(l->link.peer, sizeof l->link.peer, "%s", peer);
	l->net = n;
	list_init(&l->all);
	list_init(&l->dirty);
	list_init(&l->broken);
	net_out_init(&l->out, &l->link, n->cfg.mem, cut(n), !n->register_memory);
	net_in_init(&l->in, &l->link, &n->spare, cut(n));
	list_init(&l->ops);
	list_init(&l->idle);
	list_push_back(&n->links, &l->all);
	*rc_out = open_endpoint(l, info);
	if (l->ep)
		map_put(&n->by_fid, (uint64_t)(uintptr_t)&l->ep->fid, l);
	if (*rc_out != 0) {
		ofi_link_close(l);
		return NULL;
	}
	return l;
}

int ofi_link_redial(struct ofi_link *l, const void *param, size_t bytes)
{
	struct ofi_net *n = l->net;
	int rc;

	map_remove(&n->by_fid, (uint64_t)(uintptr_t)&l->ep->fid);
	fi_close(&l->ep->fid);
	l->ep = NULL;
	l->dial++; /* what the old endpoint still completes is not of the new one */
	l->rx_posted = l->rx_buffers = 0;
	rc = open_endpoint(l, l->info);
	if (l->ep)
		map_put(&n->by_fid, (uint64_t)(uintptr_t)&l->ep->fid, l);
	return rc != 0 ? rc : fi_connect(l->ep, l->info->dest_addr, param, bytes);
}

void ofi_link_close(struct ofi_link *l)
{
	struct ofi_net *n = l->net;

	if (l->state == OFI_CLOSED)
		return;
	if (l->state == OFI_DIALLING && l->deadline_us)
		n->dialling--;
	if (l->tell_drained)
		n->drained_pending--;
	l->tell_drained = false;
	l->state = OFI_CLOSED;
	list_remove(&l->dirty);
	list_remove(&l->broken);
	net_out_drop(&l->out);
	if (l->ep) {
		map_remove(&n->by_fid, (uint64_t)(uintptr_t)&l->ep->fid);
		fi_close(&l->ep->fid);
		l->ep = NULL;
	}
	if (l->info)
		fi_freeinfo(l->info);
	l->info = NULL;
	list_remove(&l->all);
	list_push_back(&n->closed, &l->all);
}

/* Called when the completion queue has been drained after the links were closed. */
void ofi_links_reap(struct ofi_net *n)
{
	while (!list_empty(&n->closed)) {
		struct ofi_link *l = CONTAINER_OF(n->closed.next, struct ofi_link, all);

		while (!list_empty(&l->ops)) {
			struct ofi_op *op = CONTAINER_OF(l->ops.next, struct ofi_op, l);

			if (op->kind == OFI_SEND_BUFFER || op->kind == OFI_READ)
				buffer_put(n, op);
			else
				op_free(n, op);
		}
		while (!list_empty(&l->idle))
			op_free(n, CONTAINER_OF(l->idle.next, struct ofi_op, l));
		net_in_fini(&l->in);
		list_remove(&l->all);
		MEM_FREE(n->cfg.mem, l);
	}
}

void ofi_link_break(struct ofi_link *l, enum status why)
{
	if (l->state == OFI_BROKEN || l->state == OFI_CLOSED)
		return;
	if (l->state == OFI_ACCEPTING) { /* nobody knows it yet */
		ofi_link_close(l);
		return;
	}
	if (l->state == OFI_DIALLING) {
		l->net->dialling--;
		l->deadline_us = 0;
	}
	l->state = OFI_BROKEN;
	l->why = why;
	list_remove(&l->dirty);
	net_out_drop(&l->out);
	list_push_back(&l->net->broken, &l->broken);
}

void ofi_link_up(struct ofi_link *l)
{
	struct ofi_net *n = l->net;

	if (l->state == OFI_DIALLING && l->gated) {
		l->link.refused = "whoever answers there does not know the cluster's secret";
		ofi_link_break(l, ST_AUTH);
		return;
	}
	if (l->state == OFI_DIALLING) {
		n->dialling--;
		l->deadline_us = 0;
		l->state = OFI_UP;
		n->cfg.events->up(n->cfg.ctx, &l->link);
	} else if (l->state == OFI_ACCEPTING) {
		l->state = OFI_UP;
		n->cfg.events->accepted(n->cfg.ctx, &l->link);
	}
	if (l->state == OFI_UP && !net_out_empty(&l->out) && list_empty(&l->dirty))
		list_push_back(&n->dirty, &l->dirty);
}

/* -- out -------------------------------------------------------------------------------------- */

void ofi_link_send(struct net_link *link, struct net_msg *msg)
{
	struct ofi_link *l = CONTAINER_OF(link, struct ofi_link, link);
	struct ofi_net *n = l->net;

	ASSERT_OP(msg->bytes, <=, NET_MESSAGE_MAX);
	if (l->state != OFI_UP && l->state != OFI_DIALLING) {
		net_msg_unref(msg);
		return;
	}
	net_out_push(&l->out, msg);
	if (l->state == OFI_UP && list_empty(&l->dirty))
		list_push_back(&n->dirty, &l->dirty);
}

static int give(struct ofi_link *l, struct ofi_op *op, const struct net_piece *p)
{
	struct iovec iov[2] = {{op->data, p->copied_bytes}, {(void *)(uintptr_t)p->lent, p->lent_bytes}};

	if (!p->lent)
		return (int)fi_send(l->ep, op->data, p->copied_bytes, op_desc(op), 0, &op->context);
	if (!p->copied_bytes)
		return (int)fi_send(l->ep, p->lent, p->lent_bytes, NULL, 0, &op->context);
	return (int)fi_sendv(l->ep, iov, NULL, 2, 0, &op->context);
}

static int flush_piece(struct ofi_link *l)
{
	struct ofi_net *n = l->net;
	bool whole = net_out_lends(&l->out);
	struct ofi_op *op = whole ? op_new(n, false) : buffer_get(n);
	struct net_piece p;
	bool inject;
	int rc;

	if (!op)
		return -FI_EAGAIN;
	op->kind = whole ? OFI_SEND_DIRECT : OFI_SEND_BUFFER;
	net_out_next(&l->out, op->data, &p);
	op->bytes = p.copied_bytes + p.lent_bytes;
	inject = !p.lent && op->bytes <= n->info->tx_attr->inject_size; /* no completion follows */
	rc = inject ? (int)fi_inject(l->ep, op->data, op->bytes, 0) : give(l, op, &p);
	if (rc != 0 || inject) {
		if (rc == 0)
			net_out_take(&l->out, &p);
		if (whole)
			op_free(n, op);
		else
			buffer_put(n, op);
		return rc;
	}
	op->link = l;
	op->msg = p.msg ? net_msg_ref(p.msg) : NULL;
	list_push_back(&l->ops, &op->l);
	l->tx_pieces++;
	l->tx_bytes += op->bytes;
	net_out_take(&l->out, &p);
	return 0;
}

bool ofi_link_read(struct net_link *link, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token)
{
	struct ofi_link *l = CONTAINER_OF(link, struct ofi_link, link);

	ASSERT_OP(bytes, <=, NET_READ_MAX);
	if (l->state != OFI_UP || l->reading >= NET_READS_MAX)
		return false;
	l->reads[(l->read_at + l->read_count++) % NET_READS_MAX] = (struct ofi_read){address, key, token, bytes};
	l->reading++;
	if (list_empty(&l->dirty))
		list_push_back(&l->net->dirty, &l->dirty);
	return true;
}

static int flush_read(struct ofi_link *l)
{
	const struct ofi_read *r = &l->reads[l->read_at];
	struct ofi_op *op = buffer_get(l->net);
	int rc;

	if (!op)
		return -FI_EAGAIN;
	op->kind = OFI_READ;
	op->bytes = r->bytes;
	op->token = r->token;
	rc = (int)fi_read(l->ep, op->data, r->bytes, op_desc(op), 0, r->address, r->key, &op->context);
	if (rc != 0) {
		buffer_put(l->net, op);
		return rc;
	}
	op->link = l;
	list_push_back(&l->ops, &op->l);
	l->tx_pieces++;
	l->read_at = (l->read_at + 1) % NET_READS_MAX;
	l->read_count--;
	return 0;
}

/* Gives the fabric what it takes of the queue, messages before reads. Returns how many pieces. */
int ofi_link_flush(struct ofi_link *l)
{
	uint32_t most = l->net->what->caps.in_flight_max;
	int done = 0, rc = 0;

	while (l->state == OFI_UP && !net_out_empty(&l->out) && l->tx_pieces < most &&
	       l->tx_bytes < most * piece_bytes(l->net)) {
		rc = flush_piece(l);
		if (rc != 0)
			break;
		l->net->net.sends++;
		done++;
	}
	while (rc == 0 && l->state == OFI_UP && l->read_count && l->tx_pieces < most) {
		rc = flush_read(l);
		done += rc == 0;
	}
	if (rc != 0 && rc != -FI_EAGAIN) {
		ofi_link_break(l, ST_CONNECTION);
		return done + 1;
	}
	if (net_out_empty(&l->out) && !l->read_count)
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
	struct ofi_link *l = ctx;

	l->net->cfg.events->message(l->net->cfg.ctx, &l->link, data, bytes);
	return l->state == OFI_UP;
}

static void take_in(struct ofi_link *l, const uint8_t *p, size_t bytes)
{
	enum status st;

	l->link.rx_bytes += bytes;
	st = net_in_take(&l->in, p, bytes, deliver, l);
	if (st == ST_OK)
		return;
	log_event(l->net->cfg.log, LOG_NET, LOG_WARN,
		  st == ST_NOMEM ? "no memory for a message" : "bad stream", "peer=%s", l->link.peer);
	ofi_link_break(l, st);
}

/* Of a receive; the buffer is for the next. */
static void take_piece(struct ofi_link *l, struct ofi_op *op, size_t bytes)
{
	struct ofi_net *n = l->net;

	if (op->kind == OFI_RECV) {
		take_in(l, op->data, bytes);
		list_remove(&op->l);
		list_push_back(&l->idle, &op->l);
		return;
	}
	l->link.rx_bytes += bytes;
	if (l->state == OFI_UP && !net_in_took(&l->in, op->data, bytes, deliver, l) && l->state == OFI_UP) {
		log_event(n->cfg.log, LOG_NET, LOG_WARN, "bad stream", "peer=%s", l->link.peer);
		ofi_link_break(l, ST_PROTOCOL);
	}
	op_free(n, op);
}

static void received(struct ofi_op *op, size_t bytes, bool ok)
{
	struct ofi_link *l = op->link;
	uint32_t buffers = OFI_RX_FIRST;

	if (op->dial != l->dial) { /* of an endpoint before */
		op_free(l->net, op);
		return;
	}
	l->rx_posted--;
	if (ok && (l->state == OFI_ACCEPTING || l->state == OFI_DIALLING))
		ofi_link_up(l); /* data may be read before the event that it is up */
	if (!ok || l->state != OFI_UP) {
		if (l->state == OFI_UP)
			ofi_link_break(l, ST_CONNECTION);
		l->rx_buffers -= op->kind == OFI_RECV;
		op_free(l->net, op);
		return;
	}
	take_piece(l, op, bytes);
	if (!l->in.bytes || l->rx_buffers > OFI_RX_FIRST) /* it sent a whole message */
		buffers = l->net->register_memory ? OFI_RX_PIECES : OFI_RX_BUFFERS;
	if (l->state == OFI_UP && post_more(l, buffers) != 0)
		ofi_link_break(l, ST_CONNECTION);
}

void ofi_op_done(struct ofi_op *op, size_t bytes, bool ok)
{
	struct ofi_link *l = op->link;
	struct ofi_net *n = l->net;

	switch (op->kind) {
	case OFI_RECV:
	case OFI_RECV_SLICE:
		received(op, bytes, ok);
		return;
	case OFI_SEND_BUFFER:
		l->tx_bytes -= op->bytes;
		buffer_put(n, op);
		break;
	case OFI_SEND_DIRECT:
		l->tx_bytes -= op->bytes;
		op_free(n, op);
		break;
	case OFI_READ:
		l->reading--;
		if (ok && l->state == OFI_UP) {
			l->link.rx_bytes += op->bytes;
			n->cfg.events->read(n->cfg.ctx, &l->link, op->token, op->data, op->bytes);
		}
		buffer_put(n, op);
		break;
	}
	l->tx_pieces--;
	if (!ok)
		ofi_link_break(l, ST_CONNECTION);
}
