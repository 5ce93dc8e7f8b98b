/*
 * ucx_bare.c - UCX alone, for `valence bench fabric` (net/ucx). See net/bare.h.
 */
#include <netdb.h>
#include <string.h>

#include "net/bare.h"
#include "net/ucx/ucx_int.h"

#define IN_FLIGHT 16
#define MESSAGE 1

struct bare {
	struct net_bare bare;
	struct net_bare_config cfg;
	struct ucx_net what; /* for the context only */
	ucp_worker_h worker;
	ucp_listener_h listener;
	ucp_conn_request_h request;
	ucp_ep_h ep;
	void *opening; /* the request of a flush, which waits for the connection */
	uint32_t in_flight;
	uint8_t *out, *in;
};

static struct bare *bare_of(struct net_bare *b)
{
	return CONTAINER_OF(b, struct bare, bare);
}

static void on_error(void *arg, ucp_ep_h ep, ucs_status_t st)
{
	struct bare *b = arg;

	(void)ep, (void)st;
	b->bare.failed = true;
}

static void on_received(void *request, ucs_status_t st, size_t bytes, void *arg)
{
	struct bare *b = arg;

	(void)st, (void)bytes;
	net_bare_count(&b->bare);
	ucp_request_free(request);
}

static ucs_status_t on_message(void *arg, const void *head, size_t head_bytes, void *data,
			       size_t bytes, const ucp_am_recv_param_t *param)
{
	struct bare *b = arg;
	ucp_request_param_t how = {.op_attr_mask =
					   UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
				   .cb.recv_am = on_received,
				   .user_data = b};
	void *request;

	(void)head, (void)head_bytes;
	if (!(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)) {
		net_bare_count(&b->bare);
		return UCS_OK;
	}
	/* rendezvous: by the library's own settings only */
	request = ucp_am_recv_data_nbx(b->worker, data, b->in, bytes, &how);
	if (UCS_PTR_IS_ERR(request))
		b->bare.failed = true;
	else if (!request)
		net_bare_count(&b->bare);
	return UCS_INPROGRESS;
}

static void on_connection(ucp_conn_request_h request, void *arg)
{
	((struct bare *)arg)->request = request;
}

static void bare_close(struct net_bare *bare)
{
	struct bare *b = bare_of(bare);
	ucp_request_param_t how = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
				   .flags = UCP_EP_CLOSE_FLAG_FORCE};
	void *closing = b->ep ? ucp_ep_close_nbx(b->ep, &how) : NULL;

	while (UCS_PTR_IS_PTR(closing) && ucp_request_check_status(closing) == UCS_INPROGRESS)
		ucp_worker_progress(b->worker);
	if (UCS_PTR_IS_PTR(closing))
		ucp_request_free(closing);
	if (b->listener)
		ucp_listener_destroy(b->listener);
	if (b->worker)
		ucp_worker_destroy(b->worker);
	if (b->what.context)
		ucp_cleanup(b->what.context);
	mem_free(b->cfg.mem, b->out, b->cfg.message_bytes);
	mem_free(b->cfg.mem, b->in, b->cfg.message_bytes);
	MEM_FREE(b->cfg.mem, b);
}

static ucs_status_t open_listener(struct bare *b, const struct addrinfo *at,
				  char address_out[NET_ADDRESS_MAX])
{
	ucp_worker_params_t worker = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
				      .thread_mode = UCS_THREAD_MODE_SINGLE};
	ucp_am_handler_param_t handler = {
		.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
			      UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
		.id = MESSAGE,
		.flags = UCP_AM_FLAG_WHOLE_MSG,
		.cb = on_message,
		.arg = b,
	};
	ucp_listener_params_t listener = {
		.field_mask =
			UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER,
		.sockaddr = {at->ai_addr, at->ai_addrlen},
		.conn_handler = {on_connection, b},
	};
	ucp_listener_attr_t attr = {.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR};
	ucs_status_t st = ucp_worker_create(b->what.context, &worker, &b->worker);

	if (st == UCS_OK)
		st = ucp_worker_set_am_recv_handler(b->worker, &handler);
	if (st == UCS_OK)
		st = ucp_listener_create(b->worker, &listener, &b->listener);
	if (st == UCS_OK)
		st = ucp_listener_query(b->listener, &attr);
	if (st == UCS_OK)
		net_address_format(&attr.sockaddr, address_out);
	return st;
}

static enum status bare_open(const struct net_bare_config *cfg, char address_out[NET_ADDRESS_MAX],
			     struct net_bare **out, struct error *err)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct bare *b = MEM_NEW(cfg->mem, struct bare);
	struct addrinfo *list = NULL;
	ucs_status_t st = UCS_ERR_INVALID_ADDR;

	b->bare.ops = &net_bare_ucx;
	b->cfg = *cfg;
	b->what.what = net_fabric_of("ucx", cfg->provider);
	b->what.plain_settings = cfg->plain_settings;
	b->out = mem_alloc(cfg->mem, cfg->message_bytes);
	b->in = mem_alloc(cfg->mem, cfg->message_bytes);
	memset(b->out, NET_BARE_FILL, cfg->message_bytes);
	error_clear(err);
	if (getaddrinfo(cfg->host, "0", &hints, &list) == 0) {
		st = ucx_context_open(&b->what, list->ai_addr, err);
		if (st == UCS_OK)
			st = open_listener(b, list, address_out);
		freeaddrinfo(list);
	}
	if (st != UCS_OK) {
		bare_close(&b->bare);
		return err->code != ST_OK ? err->code : ucx_error(err, "bare UCX:", cfg->host, st);
	}
	*out = &b->bare;
	return ST_OK;
}

static ucs_status_t open_endpoint(struct bare *b, ucp_ep_params_t *params)
{
	ucp_request_param_t how = {.op_attr_mask = 0};
	ucs_status_t st;

	params->field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
	params->err_mode = UCP_ERR_HANDLING_MODE_PEER;
	params->err_handler.cb = on_error;
	params->err_handler.arg = b;
	st = ucp_ep_create(b->worker, params, &b->ep);
	if (st != UCS_OK)
		return st;
	b->opening = ucp_ep_flush_nbx(b->ep, &how);
	b->bare.up = !b->opening;
	return UCS_PTR_IS_ERR(b->opening) ? UCS_PTR_STATUS(b->opening) : UCS_OK;
}

static enum status bare_connect(struct net_bare *bare, const char *address, struct error *err)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct bare *b = bare_of(bare);
	ucp_ep_params_t params = {.field_mask =
					  UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR,
				  .flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER};
	char host[NET_ADDRESS_MAX], port[8];
	struct addrinfo *list = NULL;
	ucs_status_t st = UCS_ERR_INVALID_ADDR;

	if (net_address_split(address, host, port) && getaddrinfo(host, port, &hints, &list) == 0) {
		params.sockaddr.addr = list->ai_addr;
		params.sockaddr.addrlen = list->ai_addrlen;
		st = open_endpoint(b, &params);
		freeaddrinfo(list);
	}
	return st == UCS_OK ? ST_OK : ucx_error(err, "bare UCX: cannot dial", address, st);
}

static void on_sent(void *request, ucs_status_t st, void *arg)
{
	struct bare *b = arg;

	if (st != UCS_OK)
		b->bare.failed = true;
	b->in_flight--;
	ucp_request_free(request);
}

static bool bare_send(struct net_bare *bare, uint32_t bytes)
{
	struct bare *b = bare_of(bare);
	ucp_request_param_t how = {.op_attr_mask =
					   UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
				   .cb.send = on_sent,
				   .user_data = b};
	void *request;

	if (b->in_flight == IN_FLIGHT)
		return false;
	request = ucp_am_send_nbx(b->ep, MESSAGE, NULL, 0, b->out, bytes, &how);
	if (UCS_PTR_IS_ERR(request))
		b->bare.failed = true;
	else if (request)
		b->in_flight++;
	return !UCS_PTR_IS_ERR(request);
}

static void opened(struct bare *b)
{
	if (ucp_request_check_status(b->opening) == UCS_INPROGRESS)
		return;
	b->bare.failed = ucp_request_check_status(b->opening) != UCS_OK;
	b->bare.up = !b->bare.failed;
	ucp_request_free(b->opening);
	b->opening = NULL;
}

static void bare_progress(struct net_bare *bare)
{
	struct bare *b = bare_of(bare);

	ucp_worker_progress(b->worker);
	if (b->request) {
		ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST,
					  .conn_request = b->request};

		b->request = NULL;
		bare->failed = open_endpoint(b, &params) != UCS_OK;
	}
	if (UCS_PTR_IS_PTR(b->opening))
		opened(b);
}

const struct net_bare_ops net_bare_ucx = {
	.name = "UCX",
	.open = bare_open,
	.connect = bare_connect,
	.send = bare_send,
	.progress = bare_progress,
	.close = bare_close,
};
