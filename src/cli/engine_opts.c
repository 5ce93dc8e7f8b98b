/*
 * engine_opts.c - the flags of an engine (cli).
 *
 * One table serves the command line, the configuration file (`key = value`, the same keys) and --help.
 */
#include "cli/engine_opts.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mac.h"
#include "net/relay/relay.h"

#define LINE_BYTES 4096
#define WORKERS_MAX 256 /* a thread each, and libpg_query takes one of 1,024 thread-specific keys for it */
#define MEMORY_MIN (64u << 20)
#define MEMORY_DEFAULT (UINT64_C(4) << 30)
#define CONNECTIONS_DEFAULT 1000
#define SECRET_MIN_BYTES 16
#define SECRET_MAX_BYTES 4096

enum opt_type { TYPE_TEXT, TYPE_NUMBER, TYPE_BYTES };
struct opt {
	const char *name, *value, *help;
	uint8_t type;
	bool archive_only;
	size_t at;
	uint64_t min, max;
};

#define TEXT(name, field, value, help) {name, value, help, TYPE_TEXT, false, offsetof(struct engine_opts, field), 0, 0}
#define DISK(name, field, value, help) {name, value, help, TYPE_TEXT, true, offsetof(struct engine_opts, field), 0, 0}
#define NUMBER(name, field, value, min, max, help) \
	{name, value, help, TYPE_NUMBER, false, offsetof(struct engine_opts, field), min, max}
#define BYTES(name, field, min, help) \
	{name, "BYTES", help, TYPE_BYTES, false, offsetof(struct engine_opts, field), min, UINT64_MAX}

static const struct opt opts[] = {
	TEXT("name", name, "N", "the engine's name, unique in the cluster"),
	TEXT("sql", sql, "HOST:PORT", "where SQL clients connect"),
	TEXT("listen", listen, "HOST:PORT", "where other engines connect"),
	TEXT("join", join, "HOST:PORT,...", "engines of the cluster to join"),
	DISK("data", data, "DIR", "where the archive keeps its data"),
	DISK("holds", holds, "KIND,...", "what the archive holds; everything when not given"),
	TEXT("fabric", fabric, "F", "ofi:tcp (default), ofi:verbs, ucx:tcp, ucx:verbs; the same in a whole cluster"),
	NUMBER("workers", workers, "N", 1, WORKERS_MAX,
	       "engines in this process, each a thread and a member: NAME, NAME.1, ... behind one SQL port (default 1)"),
	NUMBER("worker-ports", worker_ports, "FIRST", 1, 65535,
	       "where other engines connect to workers after the first: this port and the next ones (default: any free ones)"),
	BYTES("memory", memory_bytes, MEMORY_MIN, "memory for all of it, as 512M or 8G (default 4G); workers have equal parts"),
	TEXT("secret-file", secret_file, "FILE", "holds the cluster's secret, which engines prove to each other; all have the same or none"),
	TEXT("sql-auth", sql_auth, "HOW", "trust: SQL clients are who they say; a choice is needed beyond loopback"),
	TEXT("tls", tls, "CHOICE", "off: no TLS for SQL clients; a choice is needed beyond loopback"),
	TEXT("location", location, "LABEL", "where it stands, to keep traffic near"),
	TEXT("log", log, "LEVELS", "as info or warn,net=debug (default info); SIGHUP reads it again"),
	NUMBER("connections", connections, "N", 1, 100000, "SQL sessions at once (default 1000)"),
	TEXT("multicast", multicast, "GROUP:PORT", "the log also goes to this UDP multicast group, as 239.1.2.3:7600; what is lost comes over the tree"),
	NUMBER("fan-out", fan_out, "N", 1, 64, "children of an engine in the relay tree"),
	NUMBER("direct-links", direct_links, "N", 0, 1024,
	       "links to other engines beside the tree, for bulk and busy peers, at most (default 16; 0: none)"),
	BYTES("remote-memory", remote_bytes, 0,
	      "memory registered for others to read, where the fabric can (default 256M; 0: images are sent)"),
	TEXT("poll", poll, "HOW", "adaptive (default): look for work a little before sleeping; busy: never sleep; block"),
	NUMBER("spin-us", spin_us, "US", 0, 1000000, "adaptive: look for work this long at most (default 50)"),
	NUMBER("heartbeat-ms", heartbeat_ms, "MS", 1, 3600000, "between signs of life"),
	NUMBER("heartbeat-limit-ms", heartbeat_limit_ms, "MS", 1, 3600000, "silence after which an engine is dropped"),
	NUMBER("stale-read-limit-ms", stale_read_limit_ms, "MS", 1, 3600000,
	       "without a sign of the archives' majority statements are refused after this"),
	NUMBER("deadlock-timeout-ms", deadlock_timeout_ms, "MS", 1, 3600000, "wait for a lock before looking for a deadlock"),
	BYTES("checkpoint-bytes", checkpoint_bytes, 1u << 20, "of journal between checkpoints (default 64M)"),
	BYTES("journal-bytes", journal_bytes, 4u << 20,
	      "of journal kept for archives that are behind, or new (default 1G); who needs more gets the whole state"),
	BYTES("window-bytes", window_bytes, 1u << 20, "of the log kept in memory for engines behind (default 64M)"),
	TEXT("config", config, "FILE", "key = value lines of these flags; the command line wins"),
};
#define REMOTE_BYTES_DEFAULT (UINT64_C(256) << 20)
#define OPT_COUNT (sizeof opts / sizeof opts[0])

static void help(const char *command, bool archive)
{
	printf("usage: valence %s --name N --sql HOST:PORT --listen HOST:PORT%s [flags]\n\n", command,
	       archive ? " --data DIR" : " --join HOST:PORT,...");
	puts(archive ? "Runs an archive engine in the foreground: it keeps the database on disk and answers SQL.\n"
		       "Without --join it founds a cluster, or goes on with the one its data directory is of."
		     : "Runs a cache engine in the foreground: it holds data in memory and answers SQL.");
	puts("SIGTERM leaves the cluster cleanly; SIGHUP reads the log levels of --config again.");
	if (archive)
		puts("With --workers the first engine is the archive, and the others are caches.");
	puts("");
	for (size_t i = 0; i < OPT_COUNT; i++) {
		char left[48];

		if (opts[i].archive_only && !archive)
			continue;
		snprintf(left, sizeof left, "--%s %s", opts[i].name, opts[i].value);
		printf("  %-30s %s\n", left, opts[i].help);
	}
}

static bool is_set(const struct engine_opts *o, const struct opt *opt)
{
	const char *at = (const char *)o + opt->at;

	return opt->type == TYPE_TEXT ? *(char *const *)(const void *)at != NULL
				      : *(const uint64_t *)(const void *)at != UINT64_MAX;
}

/* NULL: taken. Otherwise what is wrong with the value. */
static const char *take(struct engine_opts *o, const struct opt *opt, const char *value, struct arena *arena)
{
	char *at = (char *)o + opt->at;
	uint64_t v;

	if (opt->archive_only && !o->archive)
		return "is for archive engines only";
	if (opt->type == TYPE_TEXT) {
		if (value[0] == '\0')
			return "needs a value";
		*(char **)(void *)at = arena_strdup(arena, value);
		return NULL;
	}
	if (opt->type == TYPE_NUMBER ? !cli_u64(value, opt->min, opt->max, &v) : !cli_bytes(value, &v)) {
		if (opt->type == TYPE_BYTES)
			return "must be a size such as 512M or 8G";
		return arena_printf(arena, "must be a number from %llu to %llu", (unsigned long long)opt->min,
				    (unsigned long long)opt->max);
	}
	if (v < opt->min)
		return arena_printf(arena, "must be at least %llu", (unsigned long long)opt->min);
	*(uint64_t *)(void *)at = v;
	return NULL;
}

static int read_flags(struct engine_opts *o, const char *command, int argc, char **argv, struct arena *arena)
{
	struct option longs[OPT_COUNT + 2];
	const char *wrong;
	int got;

	memset(longs, 0, sizeof longs);
	for (size_t i = 0; i < OPT_COUNT; i++)
		longs[i] = (struct option){opts[i].name, required_argument, NULL, (int)i + 256};
	longs[OPT_COUNT] = (struct option){"help", no_argument, NULL, 'h'};
	optind = 1;
	opterr = 0;
	while ((got = getopt_long(argc, argv, "+:h", longs, NULL)) != -1) {
		if (got == 'h') {
			help(command, o->archive);
			return CLI_DONE;
		}
		if (got == ':')
			return cli_usage(command, "flag %s needs a value", argv[optind - 1]);
		if (got < 256)
			return cli_usage(command, "no flag %s", argv[optind - 1]);
		wrong = take(o, &opts[got - 256], optarg, arena);
		if (wrong)
			return cli_usage(command, "--%s %s: %s", opts[got - 256].name, optarg, wrong);
	}
	if (optind < argc)
		return cli_usage(command, "unexpected argument \"%s\"", argv[optind]);
	return -1;
}

static char *trim(char *s)
{
	char *end;

	while (*s == ' ' || *s == '\t')
		s++;
	end = s + strlen(s);
	while (end > s && strchr(" \t\r\n", end[-1]))
		end--;
	*end = '\0';
	return s;
}

/* Calls fn for each key and value; fn returns NULL or what is wrong. */
static enum status config_each(const char *path, void *ctx, const char *(*fn)(void *ctx, const char *key, const char *value),
			       struct error *err)
{
	char line[LINE_BYTES], *key, *value;
	const char *wrong = NULL;
	FILE *f = fopen(path, "re");
	unsigned number = 0;

	if (!f)
		return error_set(err, ST_CONFIG_FILE, "%s: %s", path, strerror(errno));
	while (!wrong && fgets(line, sizeof line, f)) {
		number++;
		if (!strchr(line, '\n') && !feof(f)) {
			wrong = "line too long";
			break;
		}
		key = trim(line);
		if (*key == '\0' || *key == '#')
			continue;
		value = strchr(key, '=');
		if (!value) {
			wrong = "not of the form key = value";
			break;
		}
		*value++ = '\0';
		wrong = fn(ctx, trim(key), trim(value));
	}
	if (!wrong && ferror(f))
		wrong = strerror(errno);
	fclose(f);
	if (wrong)
		return error_set(err, ST_CONFIG_FILE, "%s:%u: %s", path, number, wrong);
	return ST_OK;
}

struct config_read { struct engine_opts *o; struct arena *arena; };

static const char *config_take(void *ctx, const char *key, const char *value)
{
	struct config_read *cr = ctx;
	const char *wrong;

	for (size_t i = 0; i < OPT_COUNT; i++) {
		if (strcmp(opts[i].name, key) != 0 || strcmp(key, "config") == 0)
			continue;
		if (is_set(cr->o, &opts[i]))
			return NULL; /* the command line wins */
		wrong = take(cr->o, &opts[i], value, cr->arena);
		return wrong ? arena_printf(cr->arena, "%s %s", key, wrong) : NULL;
	}
	return arena_printf(cr->arena, "no key \"%s\"", key);
}

static const char *config_log(void *ctx, const char *key, const char *value)
{
	if (strcmp(key, "log") == 0)
		snprintf(ctx, LINE_BYTES, "%s", value);
	return NULL;
}

const char *engine_opts_log_again(const struct engine_opts *o, struct arena *arena, struct error *err)
{
	char text[LINE_BYTES] = "";

	error_clear(err);
	if (!o->config || config_each(o->config, text, config_log, err) != ST_OK || text[0] == '\0')
		return NULL;
	return arena_strdup(arena, text);
}

static enum status secret_read(struct engine_opts *o, struct arena *arena, struct error *err)
{
	uint8_t bytes[SECRET_MAX_BYTES + 2]; /* room for a line's end */
	FILE *f = fopen(o->secret_file, "re");
	struct stat st;
	size_t n;
	bool bad;

	if (!f)
		return error_set(err, ST_CONFIG_FILE, "%s: %s", o->secret_file, strerror(errno));
	if (fstat(fileno(f), &st) == 0 && (st.st_mode & S_IRWXO)) {
		fclose(f);
		error_set(err, ST_CONFIG_FILE, "%s: other users may read or change it", o->secret_file);
		error_hint(err, "chmod 600 %s", o->secret_file);
		return ST_CONFIG_FILE;
	}
	n = fread(bytes, 1, sizeof bytes, f);
	bad = ferror(f) != 0;
	fclose(f);
	if (bad)
		return error_set(err, ST_CONFIG_FILE, "%s: cannot be read", o->secret_file);
	while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
		n--;
	if (n >= SECRET_MIN_BYTES && n <= SECRET_MAX_BYTES) {
		o->secret = arena_alloc(arena, n);
		o->secret_bytes = n;
		memcpy(o->secret, bytes, n);
	}
	mac_forget(bytes, sizeof bytes);
	if (!o->secret)
		return error_set(err, ST_CONFIG_FILE, "%s: a secret has %d to %d bytes, this one %s%zu", o->secret_file,
				 SECRET_MIN_BYTES, SECRET_MAX_BYTES, n > SECRET_MAX_BYTES ? "at least " : "", n);
	return ST_OK;
}

/* -- checks ---------------------------------------------------------------------------------------------- */

static int check_address(const char *command, const char *flag, const char *text, struct cli_address *out)
{
	if (!text)
		return cli_usage(command, "--%s HOST:PORT is needed", flag);
	if (!cli_address_parse(text, out))
		return cli_usage(command, "--%s %s: not of the form HOST:PORT", flag, text);
	return -1;
}

/*
 * The contract: beyond loopback not without a secret, SQL authentication and a choice about TLS. Where SQL
 * clients are on this machine, as is the one that trusts them, the fabric may go beyond.
 */
static int check_reach(const struct engine_opts *o, const char *command)
{
	const struct cli_address *far = NULL;

	if (o->sql_auth && strcmp(o->sql_auth, "trust") != 0)
		return cli_usage(command, "--sql-auth %s: this version has \"trust\" only", o->sql_auth);
	if (o->tls && strcmp(o->tls, "off") != 0)
		return cli_usage(command, "--tls %s: this version has \"off\" only", o->tls);
	if (!cli_is_loopback(&o->sql_address))
		far = &o->sql_address;
	else if (!cli_is_loopback(&o->fabric_address))
		far = &o->fabric_address;
	if (!far || (far == &o->fabric_address && o->secret_file && o->sql_auth && o->tls))
		return -1;
	fprintf(stderr, "valence: %s: refuses to listen on %s, which is not a loopback address: %s\n", command, far->host,
		!o->secret_file ? "--secret-file is missing"
		: !o->sql_auth	? "--sql-auth is missing"
		: !o->tls	? "--tls is missing"
				: "this version has no SQL authentication and no TLS yet: SQL on loopback only");
	cli_hint("beyond loopback an engine needs a cluster secret, SQL authentication and a choice about TLS");
	return CLI_USAGE;
}

static int check_join(struct engine_opts *o, const char *command, struct arena *arena)
{
	struct cli_address a;
	char *at, *next;

	if (!o->join)
		return -1;
	for (at = arena_strdup(arena, o->join); at; at = next) {
		next = strchr(at, ',');
		if (next)
			*next++ = '\0';
		if (!cli_address_parse(at, &a) || a.port == 0)
			return cli_usage(command, "--join %s: \"%s\" is not of the form HOST:PORT", o->join, at);
		if (o->contact_count == ENGINE_JOIN_MAX)
			return cli_usage(command, "--join takes at most %d addresses", ENGINE_JOIN_MAX);
		o->contacts[o->contact_count++] = at;
	}
	return -1;
}

static int check_poll(struct engine_opts *o, const char *command)
{
	static const char *const names[] = {"adaptive", "busy", "block"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (o->poll && strcmp(o->poll, names[i]) != 0)
			continue;
		o->poll_mode = (enum poll_mode)i;
		return -1;
	}
	return cli_usage(command, "--poll %s: there are adaptive, busy, block", o->poll);
}

static int check_fabric(struct engine_opts *o, const char *command)
{
	const struct net_fabric *f = o->fabric ? net_fabric_find(o->fabric) : net_fabric_default();

	if (!f)
		return cli_usage(command, "--fabric %s: no such fabric; there are ofi:tcp, ofi:verbs, ucx:tcp, ucx:verbs",
				 o->fabric);
	if (!f->ops) {
		fprintf(stderr, "valence: fabric %s: this build lacks %s\n", f->name, f->without);
		cli_hint("use --fabric %s, or configure again with %s installed", net_fabric_default()->name, f->package);
		return CLI_USAGE;
	}
	o->net = f;
	return -1;
}

/* Shares of what was given for the whole process. */
static int check_workers(const struct engine_opts *o, const char *command)
{
	unsigned long long n = o->workers;
	uint64_t memory = o->memory_bytes != UINT64_MAX ? o->memory_bytes : MEMORY_DEFAULT;
	uint64_t connections = o->connections != UINT64_MAX ? o->connections : CONNECTIONS_DEFAULT;

	if (o->workers == UINT64_MAX || o->workers == 1)
		return -1;
	if (o->net->caps.alone) {
		fprintf(stderr, "valence: %s: --workers %llu: %s has room for one engine in a process\n", command, n, o->net->name);
		cli_hint("its library may end a process with several when one of their links ends; start more processes, or use --fabric %s",
			 net_fabric_default()->name);
		return CLI_USAGE;
	}
	if (memory / n < MEMORY_MIN)
		return cli_usage(command, "--workers %llu: each needs %u MiB of --memory at least", n, MEMORY_MIN >> 20);
	if (connections < n)
		return cli_usage(command, "--workers %llu: each needs one of --connections at least", n);
	if (o->worker_ports != UINT64_MAX && o->worker_ports + n - 2 > 65535)
		return cli_usage(command, "--worker-ports %llu: there are not %llu ports from there on",
				 (unsigned long long)o->worker_ports, n - 1);
	return -1;
}

static int check(struct engine_opts *o, const char *command, struct arena *arena)
{
	int rc;

	if (!o->name)
		return cli_usage(command, "--name N is needed");
	if (!cli_name_ok(o->name))
		return cli_usage(command, "--name %s: a name has 1 to 31 letters, digits, '-', '_' or '.'", o->name);
	if ((rc = check_address(command, "sql", o->sql, &o->sql_address)) >= 0 ||
	    (rc = check_address(command, "listen", o->listen, &o->fabric_address)) >= 0 ||
	    (rc = check_join(o, command, arena)) >= 0 || (rc = check_fabric(o, command)) >= 0 ||
	    (rc = check_poll(o, command)) >= 0)
		return rc;
	if (o->archive && !o->data)
		return cli_usage(command, "--data DIR is needed");
	if (!o->archive && !o->join)
		return cli_usage(command, "--join HOST:PORT is needed: only an archive founds a cluster");
	if ((rc = check_workers(o, command)) >= 0)
		return rc;
	if (o->holds)
		return cli_usage(command, "--holds %s: archives hold everything; parts are not supported yet", o->holds);
	return check_reach(o, command);
}

static void default_number(uint64_t *v, uint64_t value)
{
	if (*v == UINT64_MAX)
		*v = value;
}

int engine_opts_read(struct engine_opts *o, const char *command, int argc, char **argv, struct arena *arena)
{
	struct config_read cr = {o, arena};
	struct error err;
	int rc;

	for (size_t i = 0; i < OPT_COUNT; i++)
		if (opts[i].type != TYPE_TEXT)
			*(uint64_t *)(void *)((char *)o + opts[i].at) = UINT64_MAX;
	rc = read_flags(o, command, argc, argv, arena);
	if (rc >= 0)
		return rc;
	if (o->config && config_each(o->config, &cr, config_take, &err) != ST_OK)
		return cli_usage(command, "configuration: %s", err.message);
	rc = check(o, command, arena);
	if (rc >= 0)
		return rc;
	if (o->secret_file && secret_read(o, arena, &err) != ST_OK)
		return cli_fail_error("cannot read the cluster's secret", &err);
	default_number(&o->workers, 1);
	default_number(&o->connections, CONNECTIONS_DEFAULT);
	default_number(&o->spin_us, SPIN_LIMIT_DEFAULT_US);
	default_number(&o->remote_bytes, REMOTE_BYTES_DEFAULT);
	default_number(&o->direct_links, RELAY_DIRECT_LINKS_DEFAULT);
	for (size_t i = 0; i < OPT_COUNT; i++)
		if (opts[i].type != TYPE_TEXT)
			default_number((uint64_t *)(void *)((char *)o + opts[i].at), 0);
	if (o->memory_bytes == 0)
		o->memory_bytes = MEMORY_DEFAULT;
	return -1;
}
