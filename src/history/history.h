/*
 * history.h - was what clients saw of a database possible at the isolation level that it claims? (history)
 *
 * A history is a text: what each client began, and how it ended with what it had read (README has the format). Values
 * are unique for each key, so every value that is read tells who wrote it; lists that are appended to tell the
 * order of their writers, too. From that the checker builds who must have come before whom, and a cycle is
 * a proof that no order of transactions explains what was seen. The method is that of Kingsbury and Alvaro, "Elle: Inferring
 * Isolation Anomalies from Experimental Observations", VLDB 2021; names of anomalies are theirs and Adya's.
 *
 * The graph has the events of a transaction, not transactions: the moment of each snapshot and that of the commit. A level is a
 * set of moments and of edges between them, so transactions of several levels are checked together, each as it claims:
 *
 *   read committed     a snapshot for each statement, all before the commit
 *   snapshot isolation one snapshot, and whoever wrote the same key before has committed before it (first updater wins)
 *   serializable       the same, and one moment among serializable ones, which is all that PostgreSQL and we promise (adr/0011)
 *
 * which is: read committed forbids G0, G1 and statements that see half of a transaction; snapshot isolation all cycles but
 * those with two neighbouring anti-dependencies (Fekete et al., 2005); serializable all of them. No false alarms: each edge
 * follows from what was read or acknowledged. It finds nothing where nothing was read.
 *
 * Nothing here waits or asks the system; memory comes from the account given.
 */
#ifndef VALENCE_HISTORY_HISTORY_H
#define VALENCE_HISTORY_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/status.h"

enum history_level {
	HISTORY_AS_DECLARED, /* each transaction's own */
	HISTORY_READ_COMMITTED,
	HISTORY_SNAPSHOT,
	HISTORY_SERIALIZABLE
};
/* What must follow from "this one had ended before that one began". */
enum history_realtime {
	HISTORY_NO_TIME,
	HISTORY_COMMIT_TIME, /* commits are in that order; of snapshots, those of transactions marked `latest` */
	HISTORY_STRICT       /* every snapshot */
};
struct history_options {
	enum history_level level;
	enum history_realtime realtime;
	bool session;          /* a session sees what it did and saw before */
	bool commit_index;     /* the database's commit indexes (@N) order versions of registers as well */
	uint32_t findings_max; /* so many are told in words; the others are counted. 0: 10 */
};

enum history_anomaly {
	HISTORY_UNKNOWN_VALUE,    /* a value that nobody wrote */
	HISTORY_G1A,              /* a value of a transaction that failed */
	HISTORY_G1B,              /* a value that its transaction overwrote */
	HISTORY_INTERNAL,         /* a transaction contradicts itself */
	HISTORY_DUPLICATE,        /* an element twice in one list */
	HISTORY_INCOMPATIBLE,     /* two lists of which neither is the beginning of the other */
	HISTORY_LOST_WRITE,       /* acknowledged, and not there in the end */
	HISTORY_COMMIT_ORDER,     /* commit indexes contradict what was read */
	HISTORY_G0,               /* cycles, by their edges */
	HISTORY_G1C,
	HISTORY_LOST_UPDATE,      /* G-single of two transactions on one key */
	HISTORY_G_SINGLE,
	HISTORY_LONG_FORK,        /* G-nonadjacent: two readers see two writers in different orders */
	HISTORY_G_NONADJACENT,
	HISTORY_WRITE_SKEW,       /* G2-item of two transactions on two keys */
	HISTORY_G2_ITEM,
	HISTORY_G2,               /* G2 with a predicate */
	HISTORY_CYCLE,            /* of sessions' or real time's order alone: the history is not one */
	HISTORY_ANOMALIES
};
struct history_finding {
	enum history_anomaly anomaly;
	bool session, realtime;   /* a cycle that has such edges */
	const char *text;         /* several lines, for people */
};
struct history_result {
	struct arena arena;       /* of all that is below */
	uint32_t transactions, committed, failed, unknown; /* as the clients were told */
	uint32_t reads, writes, keys;
	uint64_t edges;
	uint32_t counts[HISTORY_ANOMALIES];
	uint32_t count;           /* of all; 0: nothing contradicts the level */
	struct history_finding *findings;
	uint32_t finding_count;
};

/*
 * Checks the text of a history. ST_OK: it was checked, and @out says what was found; give it back with
 * history_result_fini(). ST_DATA: it is not a history; @err names the line. The text is lent during the call.
 */
enum status history_check(struct mem *mem, const char *text, size_t bytes, const struct history_options *options,
			  struct history_result *out, struct error *err) MUST_CHECK;
void history_result_fini(struct history_result *r);

const char *history_anomaly_name(enum history_anomaly a); /* "G-single", … */
/* Of a cycle with session or real-time edges: "G-single-realtime". Into @out, which is returned. */
const char *history_finding_name(const struct history_finding *f, char *out, size_t bytes);
/* "read-committed", "snapshot-isolation", "serializable"; also "rc", "rr", "ser". False: no such level. */
bool history_level_parse(const char *name, size_t bytes, enum history_level *out);

#endif
