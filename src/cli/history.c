/*
 * history.c - `valence history`: checks histories of clients' transactions against isolation levels (cli).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "history/history.h"

#define READ_BYTES (1u << 20)

static void help(FILE *to)
{
	fputs("usage: valence history [flags] FILE...\n\n"
	      "Checks whether an isolation level allows what clients saw. FILE, or - for standard input, has one event a\n"
	      "line; doc/isolation.md has the format and what is found. Exit status 1: something the level forbids.\n\n"
	      "  --level L        read-committed, snapshot-isolation or serializable for all transactions\n"
	      "                   (default: each one's own, as the history says)\n"
	      "  --time T         none; commits: commits are in the order in which transactions followed each other, and\n"
	      "                   snapshots marked latest have what was acknowledged before (default); strict: all have\n"
	      "  --no-session     a session need not see what it did and saw before\n"
	      "  --commit-index   the history's commit indexes tell the order of registers' versions, too\n"
	      "  --findings N     tell so many findings in words (default 10)\n", to);
}

struct flags { struct history_options options; int first; };

static bool time_parse(const char *text, enum history_realtime *out)
{
	static const char *const names[] = {"none", "commits", "strict"};

	for (size_t i = 0; text && i < sizeof names / sizeof names[0]; i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum history_realtime)i;
			return true;
		}
	return false;
}

static int parse(int argc, char **argv, struct flags *f)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
		uint64_t n;

		if (!strcmp(a, "--help") || !strcmp(a, "-h")) {
			help(stdout);
			return -1;
		}
		if (!strcmp(a, "--no-session")) {
			f->options.session = false;
			continue;
		}
		if (!strcmp(a, "--commit-index")) {
			f->options.commit_index = true;
			continue;
		}
		i++;
		if (!strcmp(a, "--level")) {
			if (!value || !history_level_parse(value, strlen(value), &f->options.level))
				return cli_usage("history", "--level: no level \"%s\"", value ? value : "");
		} else if (!strcmp(a, "--time")) {
			if (!time_parse(value, &f->options.realtime))
				return cli_usage("history", "--time wants none, commits or strict, not \"%s\"", value ? value : "");
		} else if (!strcmp(a, "--findings")) {
			if (!value || !cli_u64(value, 1, 1000000, &n))
				return cli_usage("history", "--findings wants a number from 1, not \"%s\"", value ? value : "");
			f->options.findings_max = (uint32_t)n;
		} else {
			return cli_usage("history", "no flag %s", a);
		}
	}
	f->first = i;
	return i < argc ? CLI_DONE : cli_usage("history", "no file given");
}

static bool file_read(const char *name, struct buf *out)
{
	FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
	size_t n;
	bool good;

	if (!file)
		return false;
	do {
		buf_reserve(out, READ_BYTES);
		n = fread(out->data + out->size, 1, READ_BYTES, file);
		out->size += n;
	} while (n);
	good = !ferror(file);
	if (file != stdin)
		fclose(file);
	return good;
}

static void report(const char *name, const struct history_result *r)
{
	printf("%s: %u transactions (%u committed, %u failed, %u unknown), %u reads and %u writes of %u keys, %llu edges: ", name,
	       r->transactions, r->committed, r->failed, r->unknown, r->reads, r->writes, r->keys,
	       (unsigned long long)r->edges);
	if (!r->count) {
		puts("nothing that the level forbids");
		return;
	}
	printf("%u findings\n", r->count);
	for (enum history_anomaly a = 0; a < HISTORY_ANOMALIES; a++)
		if (r->counts[a])
			printf("  %6u %s\n", r->counts[a], history_anomaly_name(a));
	for (uint32_t i = 0; i < r->finding_count; i++)
		printf("\n%s\n", r->findings[i].text);
}

static int check(const char *name, const struct history_options *options)
{
	struct error err = {.code = ST_OK};
	struct history_result r;
	struct mem mem;
	struct buf text;
	int rc = CLI_DONE;

	mem_init(&mem, NULL, "history", 0);
	buf_init(&text, &mem);
	if (!file_read(name, &text)) {
		rc = cli_fail(name, strerror(errno));
	} else if (history_check(&mem, (const char *)text.data, text.size, options, &r, &err) != ST_OK) {
		rc = cli_fail_error(name, &err);
	} else {
		report(name, &r);
		rc = r.count ? CLI_FAILED : CLI_DONE;
		history_result_fini(&r);
	}
	buf_fini(&text);
	mem_fini(&mem);
	return rc;
}

int cli_history(int argc, char **argv)
{
	struct flags f = {.options = {.session = true, .realtime = HISTORY_COMMIT_TIME}};
	int rc = parse(argc, argv, &f), worst = CLI_DONE;

	if (rc)
		return rc < 0 ? CLI_DONE : rc;
	for (int i = f.first; i < argc; i++) {
		rc = check(argv[i], &f.options);
		if (rc)
			worst = rc;
	}
	return worst;
}
