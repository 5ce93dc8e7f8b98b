/*
 * fabric.c - the fabrics that --fabric names, and what each can do (net). See fabric.h.
 */
#include "net/fabric.h"

#include <string.h>

#ifdef VALENCE_WITH_OFI
#define OFI_OPS &net_ops_ofi, &net_bare_ofi
#else
#define OFI_OPS NULL, NULL
#endif
#ifdef VALENCE_WITH_UCX
#define UCX_OPS &net_ops_ucx, &net_bare_ucx
#else
#define UCX_OPS NULL, NULL
#endif
#define OFI(provider) "ofi:" provider, OFI_OPS, provider, "libfabric", "libfabric-dev"
#define UCX(provider) "ucx:" provider, UCX_OPS, provider, "UCX", "libucx-dev"

/* A message of 64 KiB and its head in one piece: it is then given up as it lies. */
#define PIECE_BYTES (68u << 10)
/*
 * Of libfabric's tcp: measured, 1 MiB is not faster. A slice counts as a sign of life when it is whole, so that it must
 * not take a slow network long.
 */
#define SLICE_BYTES (256u << 10)

/*
 * Measured with libfabric 1.17.0 and UCX 1.13.1. No fabric tells of silence in time: the relay's heartbeats
 * decide on all of them. libfabric's verbs has no setting for it; UCX's is set by our back end.
 */
static const struct net_fabric fabrics[] = {
	{OFI("tcp"), {PIECE_BYTES, SLICE_BYTES, 16, 10000, 0, NET_DONE_TAKEN, false, false, false, false}},
	{OFI("verbs"), {PIECE_BYTES, 0, 16, 1000000, 0, NET_DONE_ARRIVED, true, true, true, false}},
	{UCX("tcp"), {PIECE_BYTES, 0, 16, 10000, 28, NET_DONE_TAKEN, false, false, false, true}},
	{UCX("verbs"), {PIECE_BYTES, 0, 16, 1000000, 1, NET_DONE_ARRIVED, true, true, false, true}},
};
#define FABRIC_COUNT (sizeof fabrics / sizeof fabrics[0])

const struct net_fabric *net_fabric_at(uint32_t at)
{
	return at < FABRIC_COUNT ? &fabrics[at] : NULL;
}

const struct net_fabric *net_fabric_default(void)
{
	for (size_t i = 0; i < FABRIC_COUNT; i++)
		if (fabrics[i].ops)
			return &fabrics[i];
	return &fabrics[0]; /* configure does not let it come to that */
}

const struct net_fabric *net_fabric_find(const char *name)
{
	for (size_t i = 0; i < FABRIC_COUNT; i++)
		if (strcmp(fabrics[i].name, name) == 0)
			return &fabrics[i];
	return NULL;
}

const struct net_fabric *net_fabric_of(const char *backend, const char *provider)
{
	size_t bytes = strlen(backend);

	for (size_t i = 0; i < FABRIC_COUNT; i++)
		if (strncmp(fabrics[i].name, backend, bytes) == 0 &&
		    fabrics[i].name[bytes] == ':' &&
		    (!provider || !*provider || strcmp(fabrics[i].provider, provider) == 0))
			return &fabrics[i];
	return NULL;
}
