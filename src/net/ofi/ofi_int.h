/*
 * ofi_int.h - the parts of the libfabric back end (net/ofi, private).
 *
 * One fabric, domain, completion queue and event queue per transport, opened with the first address
 * that it listens on or dials; one connected endpoint (FI_EP_MSG) per link. A link's messages are
 * one stream of bytes, cut in *pieces* of at most OFI_PIECE_BYTES: each message is a head of 8
 * bytes and the data, padded to 8, so a head is never cut in two. Small messages that wait together
 * share a piece; the middle of a large one goes without a copy.
 *
 * What the fabric has been given and not given back is an *op*. A link is freed when it has no op
 * left, or when its endpoint is closed and the completion queue has been drained after that, for
 * then none can come any more.
 */
#ifndef VALENCE_NET_OFI_OFI_INT_H
#define VALENCE_NET_OFI_OFI_INT_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>

#include "base/list.h"
#include "base/map.h"
#include "net/net.h"

#define OFI_PIECE_BYTES 65536u
#define OFI_RX_PIECES 16       /* posted per link */
#define OFI_RX_FIRST 2         /* until the peer has sent a whole message: a stranger costs little */
#define OFI_TX_PIECES 16       /* in flight per link */
#define OFI_BUFFERS_MAX 1024   /* send buffers of the transport; without one a link waits */
#define OFI_ASSEMBLY_KEEP (1u << 20) /* a larger buffer is given back after its message */
#define OFI_DIAL_US 2000000u
#define OFI_API FI_VERSION(1, 17)

/* What we know of a provider. */
struct ofi_provider {
	const char *name;     /* libfabric's */
	bool source_address;  /* a dial must name the local address */
	bool remote_read;     /* one-sided reads are the hardware's */
	uint32_t cq_entries;
};

enum ofi_op_kind { OFI_RECV, OFI_SEND_BUFFER, OFI_SEND_DIRECT };

struct ofi_op {
	struct fi_context2 context; /* the fabric's (FI_CONTEXT2) */
	struct list l;              /* of the link, while the fabric has it; or in the pool */
	enum ofi_op_kind kind;
	struct ofi_link *link;
	struct net_msg *msg;        /* OFI_SEND_DIRECT: referenced */
	uint32_t bytes;
	struct fid_mr *mr;          /* of data, where the fabric wants memory registered */
	uint8_t *data;              /* OFI_PIECE_BYTES; NULL in OFI_SEND_DIRECT */
};

enum ofi_state { OFI_DIALLING, OFI_ACCEPTING, OFI_UP, OFI_BROKEN, OFI_CLOSED };

struct ofi_queued { struct list l; struct net_msg *msg; uint32_t sent; bool head_sent; };

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
	struct list queue;           /* ofi_queued */
	struct list ops;
	uint32_t tx_pieces, rx_pieces;
	bool was_over, tell_drained;
	/* the message that is being put together */
	uint8_t *assembly;
	uint32_t assembly_cap, assembly_bytes, assembly_have;
};

struct ofi_net {
	struct net net;
	struct net_config cfg;
	const struct ofi_provider *provider;
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
	uint32_t dialling;
	uint32_t drained_pending;
};

/* ofi_provider.c */
const struct ofi_provider *ofi_provider_find(const char *name);
struct fi_info *ofi_hints(const struct ofi_net *n);
void ofi_hint_source(const struct ofi_net *n, struct fi_info *hints);
enum status ofi_status(int fi_errno); /* of a libfabric error, positive or negative */
enum status ofi_error(struct error *err, const char *what, const char *address, int fi_errno);
/* "host:port" or "[v6]:port"; false: not that */
bool ofi_address_split(const char *address, char host[NET_ADDRESS_MAX], char port[8]);
void ofi_address_format(const void *sockaddr, char out[NET_ADDRESS_MAX]);

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

#endif
