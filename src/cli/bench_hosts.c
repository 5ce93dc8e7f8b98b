/*
 * bench_hosts.c - see bench_hosts.h (cli).
 */
#define _GNU_SOURCE /* unshare, setns */
#include "cli/bench_hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEER_FD 9
#define PEER_PATH "/proc/self/fd/9"
#define WORDS_MAX 12

static int own_network(void)
{
	return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static int network_new(void)
{
	int home = own_network(), made = -1;

	if (home < 0)
		return -1;
	if (unshare(CLONE_NEWNET) == 0) {
		made = own_network();
		if (setns(home, CLONE_NEWNET) != 0) {
			close(made);
			made = -1;
		}
	}
	close(home);
	return made;
}

/* ip, with @words, in that network; PEER_PATH among them is @peer. */
static enum status ip(int network, int peer, const char *const *words, struct error *err)
{
	const char *argv[WORDS_MAX] = {"ip"};
	int how = 0, n = 1;
	pid_t pid;

	while (*words)
		argv[n++] = *words++;
	pid = fork();
	if (pid == 0) {
		if (setns(network, CLONE_NEWNET) == 0 && (peer < 0 || dup2(peer, PEER_FD) >= 0))
			execvp("ip", (char *const *)(const void *)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &how, 0) != pid || !WIFEXITED(how) || WEXITSTATUS(how) != 0)
		return error_set(err, ST_SYSTEM, "ip %s %s %s: it failed", argv[1], argv[2], argv[3]);
	return ST_OK;
}

#define IP(network, peer, err, ...) ip(network, peer, (const char *const[]){__VA_ARGS__, NULL}, err)

static enum status host_make(struct bench_hosts *h, uint32_t k, struct error *err)
{
	size_t used = strlen(h->addresses);
	char port[16], address[24];
	enum status st;

	h->networks[k] = network_new();
	if (h->networks[k] < 0)
		return error_set(err, ST_SYSTEM, "a network namespace: %s", strerror(errno));
	snprintf(port, sizeof port, "port%u", k);
	snprintf(address, sizeof address, "10.83.0.%u/24", k + 1);
	snprintf(h->addresses + used, sizeof h->addresses - used, "%s10.83.0.%u", k ? "," : "", k + 1);
	st = IP(h->middle, h->networks[k], err, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns",
		PEER_PATH);
	if (st == ST_OK)
		st = IP(h->middle, -1, err, "link", "set", port, "master", "bridge", "up");
	if (st == ST_OK)
		st = IP(h->networks[k], -1, err, "link", "set", "lo", "up");
	if (st == ST_OK)
		st = IP(h->networks[k], -1, err, "address", "add", address, "dev", "eth0");
	if (st == ST_OK)
		st = IP(h->networks[k], -1, err, "link", "set", "eth0", "up");
	return st;
}

enum status bench_hosts_make(struct bench_hosts *h, uint32_t count, struct error *err)
{
	enum status st = ST_OK;

	memset(h, 0, sizeof *h);
	h->count = count;
	for (uint32_t k = 0; k < count; k++)
		h->networks[k] = -1;
	h->middle = geteuid() == 0 ? network_new() : -1;
	if (h->middle < 0)
		st = geteuid() == 0 ? error_set(err, ST_SYSTEM, "a network namespace: %s", strerror(errno))
				    : error_set(err, ST_SYSTEM, "network namespaces need root");
	if (st == ST_OK)
		st = IP(h->middle, -1, err, "link", "add", "bridge", "type", "bridge");
	if (st == ST_OK)
		st = IP(h->middle, -1, err, "link", "set", "bridge", "up");
	for (uint32_t k = 0; st == ST_OK && k < count; k++)
		st = host_make(h, k, err);
	if (st != ST_OK)
		bench_hosts_free(h);
	return st;
}

enum status bench_hosts_wire(struct bench_hosts *h, uint32_t host, bool whole, struct error *err)
{
	char port[16];

	snprintf(port, sizeof port, "port%u", host);
	return whole ? IP(h->middle, -1, err, "link", "set", port, "master", "bridge")
		     : IP(h->middle, -1, err, "link", "set", port, "nomaster");
}

void bench_hosts_free(struct bench_hosts *h)
{
	for (uint32_t k = 0; k < h->count; k++)
		if (h->networks[k] >= 0)
			close(h->networks[k]);
	if (h->middle >= 0)
		close(h->middle);
	h->count = 0;
	h->middle = -1;
}
