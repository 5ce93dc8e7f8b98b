/*
 * ofi_int.h - the parts of the libfabric back end (net/ofi, private).
 *
 * One fabric, domain, completion queue and event queue per transport, opened with the first address
 * that it listens on or dials; one connected endpoint (FI_EP_MSG) per link, which carries a link's
 * stream in pieces (pieces.h).
 *
 * What the fabric has been given and not given back is an *op*. A link is freed when it has no op
 * left, or when its endpoint is closed and the completion queue has been drained after that, for
 * then none can come any more.
 */
#ifndef VALENCE_NET_OFI_OFI_INT_H
#define VALENCE_NET_OFI_OFI_INT_H

#include <dirent.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include "base/list.h"
#include "base/mac.h"
#include "base/map.h"
#include "net/address.h"
#include "net/fabric.h"
#include "net/pieces.h"

#define OFI_RX_PIECES 16       /* posted per link */
#define OFI_RX_BUFFERS (NET_AHEAD_MAX + 1) /* of these, of pieces, where there are slices */
#define OFI_RX_FIRST 2         /* until the peer has sent a whole message: a stranger costs little */
#define OFI_BUFFERS_MAX 1024   /* send buffers of the transport; without one a link waits */
#define OFI_DIAL_US 2000000u
#define OFI_EVENTS_MAX 256     /* connection events in one progress */
#define OFI_NONCE_BYTES 16
#define OFI_GATE_MAX 56        /* what a provider carries with a connection request */
#define OFI_GATE_USED 256
#define OFI_CQ_ENTRIES 4096
#define OFI_API FI_VERSION(1, 17)

enum ofi_op_kind { OFI_RECV, OFI_RECV_SLICE, OFI_SEND_BUFFER, OFI_SEND_DIRECT, OFI_READ };

struct ofi_op {
	struct fi_context2 context; /* the fabric's (FI_CONTEXT2) */
	struct list l;              /* of the link, while the fabric has it; or in the pool */
	enum ofi_op_kind kind;
	struct ofi_link *link;
	uint32_t dial;              /* of the link's when it was posted */
	struct net_msg *msg;        /* of which something is lent: referenced */
	uint32_t bytes;
	struct fid_mr *mr;          /* of data, where the fabric wants memory registered */
	uint8_t *data;              /* a piece; OFI_RECV_SLICE: in the message; NULL in OFI_SEND_DIRECT */
	uint64_t token;             /* OFI_READ */
};

struct ofi_region { struct net_region region; struct fid_mr *mr; };

/* A read that the fabric was not given yet. */
struct ofi_read { uint64_t address, key, token; uint32_t bytes; };

enum ofi_state { OFI_DIALLING, OFI_ACCEPTING, OFI_UP, OFI_BROKEN, OFI_CLOSED };

struct ofi_link {
	struct net_link link;
	struct ofi_net *net;
	struct list all;             /* net->links or net->closed */
	struct list dirty;           /* in net->dirty: has something to send */
	struct list broken;          /* in net->broken: down is to be called */
	enum ofi_state state;
	enum status why;
	struct fid_ep *ep;
	uint64_t deadline_us;        /* of the dial */
	struct fi_info *info;        /* of the dial, while it is one with a secret: it takes two endpoints */
	uint32_t dial;               /* which endpoint this is */
	bool gated, entered;         /* the peer has not shown its proof; ours was sent */
	uint8_t nonce[OFI_NONCE_BYTES], opened[MAC_BYTES];
	struct net_out out;
	struct net_in in;
	struct list ops;
	struct ofi_read reads[NET_READS_MAX]; /* a ring: read_count from read_at on wait */
	uint32_t read_at, read_count, reading; /* reading: all that are under way, these included */
	uint32_t tx_pieces, tx_bytes; /* operations that the library has; bytes of the sends among them */
	uint32_t rx_posted, rx_buffers; /* receives that wait; buffers for them, also those in idle */
	struct list idle;            /* of the buffers, those that are not posted */
	bool tell_drained;
};

struct ofi_seen { uint64_t cookie, since_us; int fd; uint32_t round; };

struct ofi_net {
	struct net net;
	struct net_config cfg;
	const struct net_fabric *what;
	struct fi_info *info;        /* of the address that opened the fabric */
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_eq *eq;
	struct fid_cq *cq;
	struct fid_pep *pep;
	int epoll_fd;
	bool register_memory, in_progress;
	struct list links, closed, dirty, broken;
	struct map by_fid;           /* endpoint -> struct ofi_link, to name those of late events */
	struct list pool;            /* free send buffers */
	uint32_t buffers;
	struct net_spare spare;
	uint32_t dialling;
	uint64_t keys;               /* asked for, where the fabric lets us choose */
	uint32_t drained_pending;
	uint32_t turns;
	struct {
		uint8_t key[MAC_BYTES]; /* of this process: makes cookies */
		uint64_t used[OFI_GATE_USED];
		uint32_t used_at;
	} gate;
	struct {
		int epoll_fd;       /* of the listener alone: somebody knocked */
		uint16_t port;      /* as in the address; 0: there is no door to look after */
		DIR *fds;           /* descriptors of this process */
		uint32_t turns, round;
		uint32_t requests;  /* in this round */
		bool knock;         /* in this round, somebody came */
		uint64_t next_look_us, next_line_us, next_knock_us, closed;
		VEC(struct ofi_seen) seen;
	} door;
};

/* ofi_provider.c */
struct fi_info *ofi_hints(const struct ofi_net *n);
void ofi_hint_source(const struct ofi_net *n, struct fi_info *hints);
enum status ofi_status(int fi_errno); /* of a libfabric error, positive or negative */
enum status ofi_error(struct error *err, const char *what, const char *address, int fi_errno);

/* ofi_link.c */
struct ofi_link *ofi_link_new(struct ofi_net *n, struct fi_info *info, const char *peer, int *rc_out);
void ofi_link_close(struct ofi_link *l);  /* the endpoint; the link is reaped later */
void ofi_link_break(struct ofi_link *l, enum status why); /* and tell, from progress */
void ofi_link_up(struct ofi_link *l);
void ofi_link_send(struct net_link *link, struct net_msg *msg);
int ofi_link_flush(struct ofi_link *l);
void ofi_op_done(struct ofi_op *op, size_t bytes, bool ok);
void ofi_links_reap(struct ofi_net *n);
void ofi_pool_fini(struct ofi_net *n);
bool ofi_link_read(struct net_link *link, uint64_t address, uint64_t key, uint32_t bytes, uint64_t token);
int ofi_link_redial(struct ofi_link *l, const void *param, size_t bytes); /* by a new endpoint */

/* ofi_gate.c: private data of connection requests; each returns how many bytes to send, 0: none */
enum ofi_gate { OFI_GATE_OPEN, OFI_GATE_SHUT };
size_t ofi_gate_knock(struct ofi_link *l, uint8_t out[OFI_GATE_MAX]);
/* To a rejection. 0: it is over, why_out says how. */
size_t ofi_gate_answer(struct ofi_link *l, const uint8_t *data, size_t bytes, uint8_t out[OFI_GATE_MAX],
		       enum status *why_out);
bool ofi_gate_passed(struct ofi_link *l, const uint8_t *data, size_t bytes); /* of the acceptance */
enum ofi_gate ofi_gate_judge(struct ofi_net *n, const char *peer, const uint8_t *data, size_t bytes,
			     uint8_t out[OFI_GATE_MAX], size_t *out_bytes);
size_t ofi_gate_busy(uint8_t out[OFI_GATE_MAX]);

/* ofi_door.c */
void ofi_door_open(struct ofi_net *n);
void ofi_door_close(struct ofi_net *n);
void ofi_door_knock(struct ofi_net *n);
void ofi_door_turn(struct ofi_net *n);

#endif
