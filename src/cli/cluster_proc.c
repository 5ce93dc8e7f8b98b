/*
 * cluster_proc.c - the processes of a local cluster (cli).
 *
 * A pid file is written by who starts the process. Pids are used again by the system, so nothing is signalled before
 * /proc says that this pid still runs the engine of this name on these ports.
 */
#define _GNU_SOURCE /* setns */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"
#include "base/list.h"
#include "cli/cluster.h"

#define FABRIC_OFFSET 100
#define CMDLINE_BYTES 65536
#define POLL_MS 20
#define SECRET_BYTES 32
#define COMPLAINT_BYTES 1024

/* The k-th of the addresses, from the first on again at their end. */
static const char *host_of(const char *hosts, uint32_t k, char out[INET_ADDRSTRLEN])
{
	const char *at = hosts;
	size_t n;

	for (; k > 0; k--) {
		at = strchr(at, ',');
		at = at ? at + 1 : hosts;
	}
	n = strcspn(at, ",");
	snprintf(out, INET_ADDRSTRLEN, "%.*s", n < INET_ADDRSTRLEN ? (int)n : 0, at);
	return at[n] ? at + n + 1 : NULL;
}

bool cluster_hosts_ok(const char *hosts)
{
	while (hosts) {
		char one[INET_ADDRSTRLEN];
		struct in_addr a;

		hosts = host_of(hosts, 0, one);
		if (inet_pton(AF_INET, one, &a) != 1)
			return false;
	}
	return true;
}

void cluster_member(const struct cluster *cl, uint32_t k, struct member *out)
{
	(void)host_of(cl->hosts ? cl->hosts : "127.0.0.1", k, out->fabric_host);
	out->k = k;
	out->network = cl->networks ? cl->networks[k] : -1;
	out->archive = k < cl->archives;
	snprintf(out->name, sizeof out->name, "%c%u", out->archive ? 'a' : 'c',
		 (unsigned)(out->archive ? k + 1 : k - cl->archives + 1));
	out->sql_port = (uint16_t)(cl->base_port + k);
	out->fabric_port = (uint16_t)(cl->base_port + FABRIC_OFFSET + k);
}

uint32_t cluster_workers(const struct cluster *cl)
{
	uint64_t n;

	return cl->workers && cli_u64(cl->workers, 1, CLUSTER_WORKERS_MAX, &n) ? (uint32_t)n : 1; /* what is wrong with it the engines say */
}

const char *cluster_worker_name(const struct cluster *cl, const struct member *m, uint32_t worker)
{
	return worker ? arena_printf(cl->arena, "%s.%u", m->name, worker) : m->name;
}

int member_enter(const struct member *m)
{
	int home;

	if (m->network < 0)
		return -1;
	home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home >= 0)
		(void)setns(m->network, CLONE_NEWNET);
	return home;
}

void member_leave(int home)
{
	if (home < 0)
		return;
	(void)setns(home, CLONE_NEWNET);
	close(home);
}

void cluster_sleep_ms(uint32_t ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

static const char *path(const struct cluster *cl, const struct member *m, const char *suffix)
{
	return arena_printf(cl->arena, "%s/%s%s", cl->dir, m->name, suffix);
}

static size_t read_file(const char *name, char *out, size_t bytes)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t got;

	if (fd < 0)
		return 0;
	while (n < bytes - 1 && (got = read(fd, out + n, bytes - 1 - n)) > 0)
		n += (size_t)got;
	close(fd);
	out[n] = '\0';
	return n;
}

/* Has @words the argument @flag followed by @value? */
static bool has_flag(const char *words, size_t bytes, const char *flag, const char *value)
{
	for (const char *p = words, *end = words + bytes; p < end; p += strlen(p) + 1)
		if (strcmp(p, flag) == 0 && p + strlen(p) + 1 < end && strcmp(p + strlen(p) + 1, value) == 0)
			return true;
	return false;
}

static bool is_ours(const struct cluster *cl, const struct member *m, pid_t pid)
{
	char *words = arena_alloc(cl->arena, CMDLINE_BYTES), name[64], address[32];
	size_t bytes;

	snprintf(name, sizeof name, "/proc/%d/cmdline", (int)pid);
	bytes = read_file(name, words, CMDLINE_BYTES);
	snprintf(address, sizeof address, "127.0.0.1:%u", m->sql_port);
	return bytes > 0 && has_flag(words, bytes, "--name", m->name) && has_flag(words, bytes, "--sql", address);
}

pid_t member_pid(const struct cluster *cl, const struct member *m)
{
	struct arena_mark mark = arena_mark(cl->arena);
	char text[32];
	uint64_t pid;
	bool ours;

	if (read_file(path(cl, m, ".pid"), text, sizeof text) == 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	ours = cli_u64(text, 2, INT32_MAX, &pid) && is_ours(cl, m, (pid_t)pid);
	arena_rewind(cl->arena, mark);
	return ours ? (pid_t)pid : 0;
}

/* The state is the letter after the command's name, which is in parentheses. */
bool member_paused(pid_t pid)
{
	char name[64], text[512], *at;

	snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
	if (read_file(name, text, sizeof text) == 0)
		return false;
	at = strrchr(text, ')');
	return at && at[1] == ' ' && at[2] == 'T';
}

bool member_has_data(const struct cluster *cl, const struct member *m)
{
	DIR *d = opendir(path(cl, m, ""));
	struct dirent *e;
	bool any = false;

	if (!d)
		return false;
	while (!any && (e = readdir(d)) != NULL)
		any = e->d_name[0] != '.';
	closedir(d);
	return any;
}

static int forget_one(const char *name, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(name);
}

enum status cluster_dir_make(const char *name, char out[CLUSTER_DIR_MAX], struct error *err)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(out, CLUSTER_DIR_MAX, "%s/valence-%s-XXXXXX", tmp && strlen(tmp) < 200 ? tmp : "/tmp", name);
	if (mkdtemp(out))
		return ST_OK;
	out[0] = '\0';
	return error_set(err, ST_IO, "a directory for the cluster: %s", strerror(errno));
}

void cluster_forget(const struct cluster *cl)
{
	(void)nftw(cl->dir, forget_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The archives but @m itself, for --join; NULL: it founds the cluster, or is its only archive. */
static const char *contacts(const struct cluster *cl, const struct member *m, bool fresh)
{
	const char *list = NULL;

	if (fresh && m->k == 0)
		return NULL;
	for (uint32_t k = 0; k < cl->archives; k++) {
		struct member other;

		if (k == m->k)
			continue;
		cluster_member(cl, k, &other);
		list = arena_printf(cl->arena, "%s%s%s:%u", list ? list : "", list ? "," : "", other.fabric_host,
				    other.fabric_port);
	}
	return list;
}

static const char *secret_path(const struct cluster *cl)
{
	return arena_printf(cl->arena, "%s/cluster.secret", cl->dir);
}

/* Written beside and renamed: an engine never reads half of it. */
enum status cluster_secret_make(const struct cluster *cl, struct error *err)
{
	const char *name = secret_path(cl), *part = arena_printf(cl->arena, "%s.new", name);
	struct entropy entropy = entropy_system();
	uint8_t bytes[SECRET_BYTES];
	FILE *f;
	int fd;
	bool ok;

	if (access(name, F_OK) == 0)
		return ST_OK;
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!f)
		return error_set(err, ST_IO, "%s: %s", part, strerror(errno));
	entropy_fill(&entropy, bytes, sizeof bytes);
	for (size_t i = 0; i < sizeof bytes; i++)
		fprintf(f, "%02x", bytes[i]);
	fputc('\n', f);
	ok = !ferror(f);
	ok = fclose(f) == 0 && ok;
	if (!ok || rename(part, name) != 0)
		return error_set(err, ST_IO, "%s: %s", name, strerror(errno));
	return ST_OK;
}

struct words { char *at[CLUSTER_EXTRA_MAX + 24]; uint32_t count; };

static void word(struct words *w, const struct cluster *cl, const char *text)
{
	w->at[w->count++] = arena_strdup(cl->arena, text);
	w->at[w->count] = NULL;
}

static void flag(struct words *w, const struct cluster *cl, const char *name, const char *value)
{
	if (!value)
		return;
	word(w, cl, name);
	word(w, cl, value);
}

static void command_line(const struct cluster *cl, const struct member *m, bool fresh, struct words *w)
{
	w->count = 0;
	word(w, cl, "valence");
	word(w, cl, m->archive ? "archive-engine" : "cache-engine");
	flag(w, cl, "--name", m->name);
	flag(w, cl, "--sql", arena_printf(cl->arena, "127.0.0.1:%u", m->sql_port));
	flag(w, cl, "--listen", arena_printf(cl->arena, "%s:%u", m->fabric_host, m->fabric_port));
	flag(w, cl, "--data", m->archive ? path(cl, m, "") : NULL);
	flag(w, cl, "--join", contacts(cl, m, fresh));
	flag(w, cl, "--fabric", cl->fabric);
	flag(w, cl, "--workers", cl->workers);
	flag(w, cl, "--secret-file", secret_path(cl));
	if (cl->hosts) { /* beyond loopback it takes a word on each */
		flag(w, cl, "--sql-auth", "trust");
		flag(w, cl, "--tls", "off");
	}
	for (uint32_t i = 0; i < cl->extra_count; i++)
		word(w, cl, cl->extra[i]);
}

/*
 * /sys shows the devices of the network that it was mounted in; UCX looks there. Another one goes on top of it, which nobody
 * else sees: what is mounted there is told to no other namespace any more. (Not by way of "/", which in a chroot is no mount.)
 */
static bool network_settle(int network)
{
	return setns(network, CLONE_NEWNET) == 0 && unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/sys", NULL, MS_REC | MS_SLAVE, NULL) == 0 && mount("sysfs", "/sys", "sysfs", 0, NULL) == 0;
}

static void child(const struct cluster *cl, const struct member *m, struct words *w, int log_fd)
{
	int null_fd = open("/dev/null", O_RDONLY);
	sigset_t none;

	setsid();
	if (cl->tied)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (null_fd >= 0)
		dup2(null_fd, STDIN_FILENO);
	dup2(log_fd, STDOUT_FILENO);
	dup2(log_fd, STDERR_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (m->network >= 0 && !network_settle(m->network)) {
		dprintf(STDERR_FILENO, "valence: cannot run: its network: %s\n", strerror(errno));
		_exit(127);
	}
	execv("/proc/self/exe", w->at);
	dprintf(STDERR_FILENO, "valence: cannot run: %s\n", strerror(errno));
	_exit(127);
}

static enum status pid_write(const struct cluster *cl, const struct member *m, pid_t pid, struct error *err)
{
	const char *name = path(cl, m, ".pid");
	FILE *f = fopen(name, "we");

	if (!f || fprintf(f, "%d\n", (int)pid) < 0 || fclose(f) != 0)
		return error_set(err, ST_IO, "%s: %s", name, strerror(errno));
	return ST_OK;
}

static enum status port_check(const struct member *m, const char *host, uint16_t port, struct error *err)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, failed = 0;

	(void)inet_pton(AF_INET, host, &sa.sin_addr);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0)
		failed = errno;
	if (fd >= 0)
		close(fd);
	if (failed == EADDRINUSE)
		return error_set(err, ST_OBJECT_IN_USE, "%s: port %u is in use", m->name, port);
	return failed ? error_set(err, ST_SYSTEM, "%s: port %u: %s", m->name, port, strerror(failed)) : ST_OK;
}

enum status member_ports_free(const struct member *m, struct error *err)
{
	int home = member_enter(m);
	enum status st = port_check(m, "127.0.0.1", m->sql_port, err);

	if (st == ST_OK)
		st = port_check(m, m->fabric_host, m->fabric_port, err);
	member_leave(home);
	return st;
}

enum status member_spawn(const struct cluster *cl, const struct member *m, bool fresh, pid_t *pid_out,
			 off_t *log_from_out, struct error *err)
{
	const char *log_name = path(cl, m, ".log");
	int log_fd = open(log_name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	struct words w;
	enum status st;
	pid_t pid;

	if (log_fd < 0)
		return error_set(err, ST_IO, "%s: %s", log_name, strerror(errno));
	if (m->archive && mkdir(path(cl, m, ""), 0700) != 0 && errno != EEXIST) {
		close(log_fd);
		return error_set(err, ST_IO, "%s: %s", path(cl, m, ""), strerror(errno));
	}
	*log_from_out = lseek(log_fd, 0, SEEK_END);
	command_line(cl, m, fresh, &w);
	pid = fork();
	if (pid == 0)
		child(cl, m, &w, log_fd);
	close(log_fd);
	if (pid < 0)
		return error_set(err, ST_SYSTEM, "cannot start a process: %s", strerror(errno));
	*pid_out = pid;
	st = pid_write(cl, m, pid, err);
	if (st != ST_OK)
		kill(pid, SIGKILL);
	return st;
}

/*
 * Is it still on its way out? It has no arguments any more then, but has its ports until its last thread is done with
 * its files; a zombie has none.
 */
static bool is_ending(pid_t pid)
{
	char name[64], text[512], state = 0;
	const char *end;
	int threads = 0;

	snprintf(name, sizeof name, "/proc/%d/cmdline", (int)pid);
	if (read_file(name, text, sizeof text) > 0)
		return false; /* somebody else has its number now */
	snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
	if (read_file(name, text, sizeof text) == 0)
		return false;
	end = strrchr(text, ')'); /* the name before it may have any character */
	if (!end || sscanf(end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", &state, &threads) != 2)
		return false;
	return state != 'Z' || threads > 1;
}

bool member_end(const struct cluster *cl, const struct member *m, int signal_number, uint32_t timeout_ms)
{
	pid_t pid = member_pid(cl, m);

	if (pid != 0 && signal_number != 0) {
		kill(pid, signal_number);
		if (signal_number != SIGKILL)
			kill(pid, SIGCONT); /* a paused one would not hear it */
	}
	for (uint32_t waited = 0;; waited += POLL_MS) {
		if (pid != 0)
			(void)waitpid(pid, NULL, WNOHANG); /* when it is a child of this very command */
		if (pid == 0 || (member_pid(cl, m) == 0 && !is_ending(pid))) {
			(void)unlink(path(cl, m, ".pid"));
			return true;
		}
		if (waited >= timeout_ms)
			return false;
		cluster_sleep_ms(POLL_MS);
	}
}

/* "time error subsystem engine event ..." of log.h, or "valence: what: cause" */
static bool is_complaint(const char *line)
{
	const char *space = strchr(line, ' ');

	return strncmp(line, "valence: ", 9) == 0 || (space && strncmp(space + 1, "error ", 6) == 0);
}

const char *member_complaint(const struct cluster *cl, const struct member *m, off_t from)
{
	FILE *f = fopen(path(cl, m, ".log"), "re");
	char line[COMPLAINT_BYTES], *found;

	if (!f)
		return NULL;
	found = arena_alloc(cl->arena, COMPLAINT_BYTES);
	if (fseeko(f, from, SEEK_SET) == 0)
		while (fgets(line, sizeof line, f)) {
			line[strcspn(line, "\n")] = '\0';
			if (is_complaint(line))
				snprintf(found, COMPLAINT_BYTES, "%s", strncmp(line, "valence: ", 9) ? line : line + 9);
		}
	fclose(f);
	return found[0] ? found : NULL;
}
