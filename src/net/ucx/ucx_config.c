/*
 * ucx_config.c - what UCX is asked for, and its errors (net/ucx). See ucx_int.h.
 */
#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/ucx/ucx_int.h"

struct setting {
	const char *name, *value;
};

/*
 * Of every transport. With rendezvous or without copies the survivor aborts when a peer dies during large
 * sends (1.13.1: 6 of 8 times at 1 MiB, none of 90 with these). Signals are ours, and so is what is
 * printed: UCX writes to standard output.
 */
static const struct setting common[] = {
	{"RNDV_THRESH", "inf"},
	{"MAX_EAGER_LANES", "1"},
	{"MAX_RNDV_LANES", "1"},
	{"HANDLE_ERRORS", "none"},
	{NULL, NULL},
};

static const struct setting tcp[] = {{"TLS", "tcp"}, {"SOCKADDR_TLS_PRIORITY", "tcp"}, {NULL, NULL}};

/*
 * A segment has room for a piece and its heads, so that a piece is one segment and is not put together
 * again on the other side.
 */
static const struct setting tcp_more[] = {
	{"ZCOPY_THRESH", "inf"},
	{"TCP_TX_SEG_SIZE", "70k"},
	{"TCP_RX_SEG_SIZE", "70k"},
	{NULL, NULL},
};

/* "rc" is both of its kinds, with ud to begin with. */
static const struct setting verbs[] = {{"TLS", "rc"}, {"SOCKADDR_TLS_PRIORITY", "rdmacm"}, {NULL, NULL}};

/* A peer's machine that fell silent becomes known within a second or so. */
static const struct setting verbs_more[] = {
	{"RC_VERBS_RETRY_COUNT", "3"},
	{"RC_VERBS_TIMEOUT", "200ms"},
	{NULL, NULL},
};

/* -- devices ---------------------------------------------------------------------------------- */

static bool same_network(const struct sockaddr *a, const struct ifaddrs *i)
{
	if (!i->ifa_addr || i->ifa_addr->sa_family != a->sa_family)
		return false;
	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *x = (const void *)a, *y = (const void *)i->ifa_addr;
		const struct sockaddr_in *mask = (const void *)i->ifa_netmask;
		/* all of 127.0.0.0/8 is the loopback's; of another network only the address itself is ours */
		uint32_t bits =
			mask && (i->ifa_flags & IFF_LOOPBACK) ? mask->sin_addr.s_addr : UINT32_MAX;

		return ((x->sin_addr.s_addr ^ y->sin_addr.s_addr) & bits) == 0;
	}
	return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
		      &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr,
		      sizeof(struct in6_addr)) == 0;
}

static bool interface_of(const struct sockaddr *local, char out[IF_NAMESIZE])
{
	struct ifaddrs *all, *i;

	if (getifaddrs(&all) != 0)
		return false;
	for (i = all; i && !same_network(local, i); i = i->ifa_next)
		;
	if (i)
		snprintf(out, IF_NAMESIZE, "%s", i->ifa_name);
	freeifaddrs(all);
	return i != NULL;
}

static bool file_is(const char *path, const char *text)
{
	char line[64] = "";
	FILE *f = fopen(path, "r");

	if (!f)
		return false;
	if (!fgets(line, sizeof line, f))
		line[0] = '\0';
	fclose(f);
	line[strcspn(line, "\n")] = '\0';
	return strcmp(line, text) == 0;
}

/* "rxe0:1", the port of an RDMA device that carries an interface. */
static bool rdma_port_of(const char *interface, char out[64])
{
	DIR *dir = opendir("/sys/class/infiniband");
	const struct dirent *d;
	char path[320];
	bool found = false;

	while (dir && !found && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		for (int port = 1; port <= 2 && !found; port++)
			for (int gid = 0; gid < 8 && !found; gid++) {
				snprintf(path, sizeof path,
					 "/sys/class/infiniband/%s/ports/%d/gid_attrs/ndevs/%d",
					 d->d_name, port, gid);
				found = file_is(path, interface);
				if (found)
					snprintf(out, 64, "%.50s:%d", d->d_name, port);
			}
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool is_any(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
		       htonl(INADDR_ANY);
	return a->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

bool ucx_local_of(const struct sockaddr *to, socklen_t to_bytes, struct sockaddr_storage *out)
{
	socklen_t bytes = sizeof *out;
	int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && connect(fd, to, to_bytes) == 0 &&
		  getsockname(fd, (struct sockaddr *)out, &bytes) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* -- the context ------------------------------------------------------------------------------ */

static ucs_status_t set(ucp_config_t *config, const char *name, const char *value)
{
	return ucp_config_modify(config, name, value);
}

static ucs_status_t set_all(ucp_config_t *config, const struct setting *s)
{
	ucs_status_t st = UCS_OK;

	for (; s->name && st == UCS_OK; s++)
		st = set(config, s->name, s->value);
	return st;
}

static ucs_status_t settings(struct ucx_net *n, ucp_config_t *config, const struct sockaddr *local)
{
	bool over_tcp = strcmp(n->what->provider, "tcp") == 0;
	char interface[IF_NAMESIZE], device[64];
	ucs_status_t st = set_all(config, over_tcp ? tcp : verbs);

	if (st == UCS_OK && !n->plain_settings)
		st = set_all(config, over_tcp ? tcp_more : verbs_more);
	if (st == UCS_OK && !n->plain_settings)
		st = set_all(config, common);
	if (st == UCS_OK && !getenv("UCX_LOG_LEVEL"))
		st = set(config, "LOG_LEVEL", "fatal");
	if (st != UCS_OK || is_any(local) || getenv("UCX_NET_DEVICES") || !interface_of(local, interface))
		return st;
	if (over_tcp)
		return set(config, "NET_DEVICES", interface);
	return rdma_port_of(interface, device) ? set(config, "NET_DEVICES", device) : UCS_OK;
}

ucs_status_t ucx_context_open(struct ucx_net *n, const struct sockaddr *local, struct error *err)
{
	ucp_params_t params = {
		.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME,
		.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
		.name = "valence",
	};
	ucp_config_t *config;
	ucs_status_t st = ucp_config_read(NULL, NULL, &config);

	if (st != UCS_OK)
		return st;
	st = settings(n, config, local);
	if (st == UCS_OK)
		st = ucp_init(&params, config, &n->context);
	ucp_config_release(config);
	if (st == UCS_ERR_NO_DEVICE) {
		error_set(err, ST_SYSTEM, "fabric %s: this machine has no such device%s",
			  n->what->name, n->what->caps.device ? " (no RDMA device)" : "");
		error_hint(err, "Use --fabric ucx:tcp or ofi:tcp; UCX_LOG_LEVEL=info tells what "
				"UCX looked for.");
	}
	return st;
}

/* -- errors ----------------------------------------------------------------------------------- */

enum status ucx_status(ucs_status_t st)
{
	switch (st) {
	case UCS_OK:
		return ST_OK;
	case UCS_ERR_TIMED_OUT:
		return ST_WAIT;
	case UCS_ERR_NO_RESOURCE:
		return ST_AGAIN;
	case UCS_ERR_NO_MEMORY:
		return ST_NOMEM;
	case UCS_ERR_NO_DEVICE:
		return ST_SYSTEM;
	case UCS_ERR_BUSY:
		return ST_STATE;
	case UCS_ERR_INVALID_PARAM:
	case UCS_ERR_INVALID_ADDR:
		return ST_BAD_PARAMETER;
	default:
		return ST_CONNECTION;
	}
}

enum status ucx_error(struct error *err, const char *what, const char *address, ucs_status_t st)
{
	return error_set(err, ucx_status(st), "%s %s: %s", what, address, ucs_status_string(st));
}
