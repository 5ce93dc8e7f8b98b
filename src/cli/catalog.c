/*
 * catalog.c - `valence catalog`: what a cluster knows about itself, by SQL on the valence views (cli).
 *
 * Asks one engine. What it prints is that engine's view as of its applied index.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/catalog_out.h"
#include "cli/commands.h"
#include "cli/pgclient.h"

#define TIMEOUT_MS 10000
#define ROUTE_MAX 16

static const char usage_text[] =
	"usage: valence catalog --connect HOST:PORT COMMAND [--json]\n\n"
	"  engines         the members of the cluster\n"
	"  tree            the relay tree\n"
	"  ls [PATH]       the atoms: kinds, then KIND their relations, then KIND/RELATION the atoms\n"
	"  show ATOM       all about one atom\n"
	"  holders ATOM    who holds it, the originator and its successors in order\n"
	"  route ATOM      the way to it from the root, and who gives permission\n"
	"  watch           the engines again and again; --interval S (default 1), --count N\n\n"
	"  --connect HOST:PORT   the SQL address of any engine\n"
	"  --json                one JSON value (watch: one a line) instead of text\n";

struct catalog {
	struct mem mem;
	struct arena arena;
	struct pgc *pgc;
	bool json;
	uint64_t interval_s, count; /* of watch; count 0: without end */
	const char *connect, *verb, *arg;
	struct cli_address to;
};

static int ask(struct catalog *ct, const char *sql, struct pgc_result *r)
{
	struct error err = {.code = ST_OK};

	if (pgc_query(ct->pgc, sql, &ct->arena, r, &err) != ST_OK)
		return cli_fail_error("the engine refused", &err);
	return CLI_DONE;
}

static int ask_and_print(struct catalog *ct, const char *sql)
{
	struct pgc_result r;
	int rc = ask(ct, sql, &r);

	if (rc == CLI_DONE)
		catalog_table(&r, ct->json);
	return rc;
}

static int engines(struct catalog *ct)
{
	return ask_and_print(ct, "select * from valence.engines order by engine_id");
}

static int tree(struct catalog *ct)
{
	struct pgc_result r;
	int rc = ask(ct, "select engine_id, parent_id, name, kind, applied_index, state from valence.engines "
			 "order by engine_id", &r);

	if (rc != CLI_DONE)
		return rc;
	if (ct->json)
		catalog_table(&r, true);
	else
		catalog_tree(&r, &ct->arena);
	return CLI_DONE;
}

/* As a literal of SQL. Backslashes are plain there. */
static const char *quoted(struct arena *arena, const char *text, size_t bytes)
{
	char *out = arena_alloc(arena, 2 * bytes + 3), *to = out;

	*to++ = '\'';
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == '\'')
			*to++ = '\'';
		*to++ = text[i];
	}
	*to++ = '\'';
	*to = '\0';
	return out;
}

static int ls(struct catalog *ct)
{
	const char *path = ct->arg ? ct->arg : "", *slash, *kind;

	path += strspn(path, "/");
	slash = strchr(path, '/');
	if (path[0] == '\0')
		return ask_and_print(ct, "select kind, count(*) as atoms, sum(bytes) as bytes from valence.atoms "
					 "group by kind order by kind");
	kind = quoted(&ct->arena, path, slash ? (size_t)(slash - path) : strlen(path));
	if (!slash || slash[1] == '\0')
		return ask_and_print(ct, arena_printf(&ct->arena,
						      "select relation, count(*) as atoms, sum(bytes) as bytes "
						      "from valence.atoms where kind = %s group by relation "
						      "order by relation", kind));
	return ask_and_print(ct, arena_printf(&ct->arena,
					      "select atom_id, originator, holders, bytes, applied_index, resident "
					      "from valence.atoms where kind = %s and relation = %s order by atom_id",
					      kind, quoted(&ct->arena, slash + 1, strlen(slash + 1))));
}

static int one_atom(struct catalog *ct, const char *id, struct pgc_result *r)
{
	int rc = ask(ct, arena_printf(&ct->arena, "select * from valence.atoms where atom_id = %s", id), r);

	if (rc == CLI_DONE && r->row_count == 0)
		return cli_fail(arena_printf(&ct->arena, "no atom %s", id), "the engine asked does not know it");
	return rc;
}

static int show(struct catalog *ct)
{
	struct pgc_result r;
	int rc = one_atom(ct, ct->arg, &r);

	if (rc == CLI_DONE)
		catalog_record(&r, ct->json);
	return rc;
}

static int holders(struct catalog *ct)
{
	struct pgc_result r;
	int rc = one_atom(ct, ct->arg, &r);

	if (rc != CLI_DONE)
		return rc;
	return ask_and_print(ct, arena_printf(&ct->arena,
					      "select h.position, h.engine_id, e.name, e.kind, h.is_originator, e.state "
					      "from valence.holders h left join valence.engines e "
					      "on e.engine_id = h.engine_id where h.atom_id = %s order by h.position",
					      ct->arg));
}

/* From the atom up, then printed from the root down. */
static int route(struct catalog *ct)
{
	struct pgc_result hops[ROUTE_MAX];
	const char *id = ct->arg;
	uint32_t n = 0;

	while (n < ROUTE_MAX) {
		const char *up;
		int rc = one_atom(ct, id, &hops[n]);

		if (rc != CLI_DONE)
			return rc;
		up = pgc_named(&hops[n++], 0, "catalog_id");
		if (!up || strcmp(up, "0") == 0 || strcmp(up, id) == 0)
			break;
		id = up;
	}
	catalog_route(hops, n, ct->json);
	return CLI_DONE;
}

static int watch(struct catalog *ct)
{
	for (uint64_t i = 0; ct->count == 0 || i < ct->count; i++) {
		struct arena_mark mark = arena_mark(&ct->arena);
		int rc;

		if (i > 0) {
			sleep((unsigned)ct->interval_s);
			if (!ct->json)
				putchar('\n');
		}
		rc = engines(ct);
		if (rc != CLI_DONE)
			return rc;
		if (fflush(stdout) != 0)
			return CLI_FAILED;
		arena_rewind(&ct->arena, mark);
	}
	return CLI_DONE;
}

struct verb { const char *name; int (*run)(struct catalog *ct); int min_args, max_args; };
static const struct verb verbs[] = {
	{"engines", engines, 0, 0}, {"tree", tree, 0, 0},	{"ls", ls, 0, 1},	{"show", show, 1, 1},
	{"holders", holders, 1, 1}, {"route", route, 1, 1}, {"watch", watch, 0, 0},
};

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int read_flags(struct catalog *ct, int argc, char **argv)
{
	enum { F_CONNECT = 256, F_JSON, F_INTERVAL, F_COUNT };
	static const struct option longs[] = {
		{"connect", 1, NULL, F_CONNECT}, {"json", 0, NULL, F_JSON}, {"interval", 1, NULL, F_INTERVAL},
		{"count", 1, NULL, F_COUNT}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0},
	};
	int got;

	optind = 1;
	opterr = 0;
	while ((got = getopt_long(argc, argv, "-:h", longs, NULL)) != -1) {
		switch (got) {
		case 'h':
			fputs(usage_text, stdout);
			return CLI_DONE;
		case F_CONNECT:
			ct->connect = optarg;
			break;
		case F_JSON:
			ct->json = true;
			break;
		case F_INTERVAL:
			if (!cli_u64(optarg, 1, 86400, &ct->interval_s))
				return cli_usage("catalog", "--interval %s: must be seconds, from 1", optarg);
			break;
		case F_COUNT:
			if (!cli_u64(optarg, 1, UINT32_MAX, &ct->count))
				return cli_usage("catalog", "--count %s: must be a number from 1", optarg);
			break;
		case 1:
			if (ct->verb && ct->arg)
				return cli_usage("catalog", "unexpected argument \"%s\"", optarg);
			if (ct->verb)
				ct->arg = optarg;
			else
				ct->verb = optarg;
			break;
		case ':':
			return cli_usage("catalog", "flag %s needs a value", argv[optind - 1]);
		default:
			return cli_usage("catalog", "no flag %s", argv[optind - 1]);
		}
	}
	return -1;
}

static int check(struct catalog *ct)
{
	const struct verb *v = ct->verb ? verb_find(ct->verb) : NULL;
	uint64_t id;

	if (!ct->connect)
		return cli_usage("catalog", "--connect HOST:PORT is needed");
	if (!cli_address_parse(ct->connect, &ct->to) || ct->to.port == 0)
		return cli_usage("catalog", "--connect %s: not of the form HOST:PORT", ct->connect);
	if (!ct->verb)
		return cli_usage("catalog", "the interactive browser is not in this version: name a command");
	if (!v)
		return cli_usage("catalog", "no command \"%s\"", ct->verb);
	if (v->min_args > 0 && !ct->arg)
		return cli_usage("catalog", "%s: which atom?", ct->verb);
	if (v->max_args == 0 && ct->arg)
		return cli_usage("catalog", "%s: unexpected argument \"%s\"", ct->verb, ct->arg);
	if (v->min_args > 0 && !cli_u64(ct->arg, 1, INT64_MAX, &id))
		return cli_usage("catalog", "%s %s: an atom is named by its number", ct->verb, ct->arg);
	return -1;
}

int cli_catalog(int argc, char **argv)
{
	struct catalog ct;
	struct error err = {.code = ST_OK};
	int rc;

	memset(&ct, 0, sizeof ct);
	ct.interval_s = 1;
	mem_init(&ct.mem, NULL, "catalog", 0);
	arena_init(&ct.arena, &ct.mem);
	rc = read_flags(&ct, argc, argv);
	if (rc < 0)
		rc = check(&ct);
	if (rc < 0) {
		ct.pgc = pgc_open(&ct.mem, &ct.to, TIMEOUT_MS, &err);
		rc = ct.pgc ? verb_find(ct.verb)->run(&ct) : cli_fail_error("cannot ask the engine", &err);
		if (ct.pgc)
			pgc_close(ct.pgc);
	}
	arena_fini(&ct.arena);
	mem_fini(&ct.mem);
	return rc;
}
