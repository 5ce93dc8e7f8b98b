/*
 * ucx_int.h - the parts of the UCX back end (net/ucx, private).
 *
 * One context and worker per transport, opened with the first address that it listens on or dials; for each
 * link one endpoint by socket address (connection manager, both sides with an error handler) and one TCP
 * connection beside it (ucx_door.c). A link's stream goes in pieces (pieces.h), each one eager active
 * message, whose head numbers it: UCX promises no order between active messages, and one lane without
 * rendezvous has it. The first message each way is a *hello*, so that "up" means that the other side is one of
 * ours and answers.
 *
 * A dial: TCP to HOST:PORT, question and answer there (a token, and the port of UCX's listener), an endpoint to
 * that port, a hello with the token, the hello back.
 *
 * UCX is called only outside its callbacks: they move data and mark states, and what follows from that is
 * done at the end of progress. What UCX has been given and not given back is an *op*. A link is freed when
 * its endpoint is closed and it has no op left.
 */
#ifndef VALENCE_NET_UCX_UCX_INT_H
#define VALENCE_NET_UCX_UCX_INT_H

#include <sys/socket.h>

#include <ucp/api/ucp.h>

#include "base/list.h"
#include "base/map.h"
#include "net/address.h"
#include "net/fabric.h"
#include "net/pieces.h"

#define UCX_BUFFERS_MAX 1024  /* send buffers of the transport; without one a link waits */
#define UCX_ACCEPTS_MAX 256   /* connections under way to us; further ones are rejected */
#define UCX_GUESTS_MAX 1024   /* links on the way to their hello; further connections are closed */
#define UCX_DIAL_US 2000000u  /* from the dial, or the connection, to the hello */
#define UCX_DOOR_TURNS 64     /* of progress between looks at the TCP connections while there are messages */
#define UCX_CLOSE_US 1000000u /* for all endpoints of a transport that is closed */

enum ucx_message { UCX_HELLO = 1, UCX_PIECE = 2 }; /* ids of active messages */
#define UCX_MAGIC 0x314e4c56u /* "VLN1": the first version of what follows */
#define UCX_DOOR_BYTES 16u

/* Before the data of each active message. */
struct ucx_head { uint32_t magic, number; }; /* of a hello: its token */

_Static_assert(sizeof(struct ucx_head) == 8, "on the wire");

enum ucx_op_kind { UCX_SEND_HELLO, UCX_SEND_BUFFER, UCX_SEND_DIRECT };

struct ucx_op {
	struct list l;        /* of the link, while UCX has it; or in the pool */
	enum ucx_op_kind kind;
	struct ucx_link *link;
	struct net_msg *msg;  /* of which something is lent: referenced */
	ucp_dt_iov_t parts[2]; /* what is copied and what is lent, where it is both */
	struct ucx_head head;
	uint8_t *data;        /* UCX_SEND_BUFFER: a piece */
};

enum ucx_state { UCX_DIALLING, UCX_ACCEPTING, UCX_UP, UCX_BROKEN, UCX_CLOSED };

struct ucx_link {
	struct net_link link;
	struct ucx_net *net;
	struct list all;           /* net->links or net->closed */
	struct list dirty;         /* in net->dirty: has something to send */
	struct list broken;        /* in net->broken: down is to be called */
	enum ucx_state state;
	enum status why;
	int fd;                    /* the lifeline; -1: none (yet) */
	bool asked;                /* the dial was taken, and the question sent */
	uint8_t word[UCX_DOOR_BYTES];
	uint32_t word_bytes, token;
	struct sockaddr_storage to;/* of a dial */
	socklen_t to_bytes;
	ucp_ep_h ep;               /* NULL: not open, or closed */
	void *closing;             /* the request of its close */
	uint64_t deadline_us;      /* of the hello; 0: it is here */
	struct net_out out;
	struct net_in in;
	struct list ops;
	uint32_t tx_pieces, tx_number, rx_number;
	bool hello_due, tell_drained;
};

struct ucx_net {
	struct net net;
	struct net_config cfg;
	const struct net_fabric *what;
	ucp_context_h context;
	ucp_worker_h worker;
	ucp_listener_h listener;
	struct sockaddr_storage local; /* of the listener */
	socklen_t local_bytes;
	int epoll_fd, door_epoll_fd, door_fd;
	uint32_t ucx_port, token, turns;
	bool in_progress;
	bool plain_settings;           /* to compare with: UCX's own (ucx_bare.c) */
	struct list links, closed, dirty, broken;
	struct map by_ep;              /* endpoint -> struct ucx_link */
	ucp_conn_request_h accepts[UCX_ACCEPTS_MAX];
	uint32_t accept_count;
	struct list pool;              /* free send buffers */
	uint32_t buffers;
	struct net_spare spare;
	uint32_t waiting;              /* links with a deadline */
	uint32_t drained_pending;
	uint8_t *aligned;              /* a piece, where UCX hands one over that is not */
};

/* ucx_config.c */
/* A context for that local address, so that its device is used and no other. */
ucs_status_t ucx_context_open(struct ucx_net *n, const struct sockaddr *local, struct error *err);
/* Which of our addresses is used to reach that one. */
bool ucx_local_of(const struct sockaddr *to, socklen_t to_bytes, struct sockaddr_storage *out);
enum status ucx_status(ucs_status_t st); /* the one place where UCX's errors become ours */
enum status ucx_error(struct error *err, const char *what, const char *address, ucs_status_t st);

/* ucx_net.c */
int ucx_worker_progress(struct ucx_net *n); /* how many things happened; bounded */

/* ucx_link.c */
struct ucx_link *ucx_link_new(struct ucx_net *n, const char *peer, enum ucx_state state);
ucs_status_t ucx_link_open(struct ucx_link *l, ucp_ep_params_t *params);
void ucx_link_dial(struct ucx_link *l, uint16_t port); /* UCX's part of it */
void ucx_link_close(struct ucx_link *l);  /* the endpoint follows in ucx_links_reap() */
void ucx_link_break(struct ucx_link *l, enum status why); /* and tell, from progress */
void ucx_link_send(struct net_link *link, struct net_msg *msg);
int ucx_link_flush(struct ucx_link *l);
bool ucx_links_reap(struct ucx_net *n); /* whether there were any */
void ucx_link_free(struct ucx_link *l);
void ucx_pool_fini(struct ucx_net *n);
ucs_status_t ucx_on_hello(void *arg, const void *head, size_t head_bytes, void *data, size_t bytes,
			  const ucp_am_recv_param_t *param);
ucs_status_t ucx_on_piece(void *arg, const void *head, size_t head_bytes, void *data, size_t bytes,
			  const ucp_am_recv_param_t *param);

/* ucx_door.c */
int ucx_door_open(struct ucx_net *n, const struct sockaddr *at, socklen_t bytes); /* 0, or an errno */
enum status ucx_door_dial(struct ucx_link *l, const struct sockaddr *to, socklen_t bytes);
bool ucx_door_admit(struct ucx_link *caller, uint32_t token);
void ucx_door_leave(struct ucx_link *l);
int ucx_door_progress(struct ucx_net *n);

#endif
