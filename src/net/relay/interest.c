/*
 * interest.c - what is wanted of the log below a link, told upward (net/relay; P7).
 *
 * A child says so before it asks for the stream, and when it changes. A relay tells its parent what it wants itself together
 * with what all want who take the log from it. More is told soon, for each record in between costs somebody a pull; less
 * can wait.
 */
#include <string.h>

#include "net/relay/relay_int.h"

_Static_assert(sizeof ((struct relay_wants *)0)->bits == RELAY_INTEREST_BYTES, "on the wire");

/* Also one that gets most by multicast, and the rest from us. */
static bool takes_log(const struct rlink *l)
{
	return l->accepted && l->state == RLINK_READY && l->log_asked;
}

static struct relay_interest sum(const struct relay *r)
{
	struct relay_interest all = r->own_interest;

	LIST_FOREACH(it, (struct list *)&r->links) {
		const struct rlink *l = CONTAINER_OF(it, struct rlink, all);

		for (size_t i = 0; takes_log(l) && i < RELAY_INTEREST_BYTES; i++)
			all.bits[i] |= l->interest.bits[i];
	}
	return all;
}

static void tell(struct rlink *l, const struct relay_interest *all)
{
	struct relay *r = l->r;
	struct relay_wants m;

	r->told_interest = *all;
	r->interest_us = relay_now(r);
	r->interest_changed = false;
	l->interest_told = true;
	memcpy(m.bits, all->bits, sizeof m.bits);
	buf_reset(&r->scratch);
	relay_wants_encode(&r->scratch, &m);
	rlink_send_scratch(l);
}

void rinterest_tell_first(struct rlink *l)
{
	struct relay_interest all = sum(l->r);

	if (!l->interest_told)
		tell(l, &all);
}

void rinterest_tell(struct relay *r)
{
	struct rlink *up = r->parent ? r->parent : r->join.link;
	struct relay_interest all;
	uint64_t since = relay_now(r) - r->interest_us;
	bool more = false;

	if (!r->interest_changed || since < RELAY_INTEREST_MORE_US)
		return;
	if (!up || up->state != RLINK_READY || !up->interest_told)
		return; /* nobody was asked for the log; who will be is told first */
	all = sum(r);
	for (size_t i = 0; i < RELAY_INTEREST_BYTES; i++)
		more = more || (all.bits[i] & ~r->told_interest.bits[i]);
	if (!more && since < RELAY_INTEREST_LESS_US)
		return;
	if (memcmp(&all, &r->told_interest, sizeof all) != 0)
		tell(up, &all);
	r->interest_changed = false;
}

void relay_set_interest(struct relay *r, const struct relay_interest *own)
{
	r->own_interest = *own;
	r->interest_changed = true;
	rinterest_tell(r);
}

void relay_on_wants(struct rlink *l, struct reader *rd)
{
	struct relay_wants m;

	if (!relay_wants_decode(rd, &m) || !l->accepted || (l->role != RELAY_ROLE_CHILD && l->role != RELAY_ROLE_JOIN)) {
		rlink_bad(l, "wants");
		return;
	}
	memcpy(l->interest.bits, m.bits, sizeof l->interest.bits);
	l->r->interest_changed = true;
	rinterest_tell(l->r);
}
