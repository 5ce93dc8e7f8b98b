/*
 * state_send.c - the whole state for an archive that cannot read the log from where it is: the archive that has it (engine;
 * doc/adr/0012).
 *
 * The state is as a checkpoint takes it: every image at one index, by reference, so the load goes on and an image that must change
 * meanwhile is copied first (S9). The other side asks for one piece after the other and is sent nothing else. It may ask any
 * archive; the journal from the state's position on is kept until it has had time to read on from there.
 */
#include "base/cover.h"
#include "atoms/atoms_disk.h"
#include "engine/engine_int.h"
#include "engine/state_wire.h"

#define SILENT_US 10000000 /* then who asked is gone, or asks somebody else */
#define KEEP_US 60000000   /* of the journal behind a state, once that was taken */
#define ASK_US 2000000     /* a request that could not be met that long is forgotten: it is repeated */

static void lent_give_back(struct engine *e, struct state_out *o)
{
	for (uint32_t i = 0; i < o->count; i++)
		if (o->lent[i].image)
			atom_image_unref(replica_store(e->rp), o->lent[i].image);
	mem_free(e->mem, o->lent, o->count * sizeof *o->lent);
	o->lent = NULL;
	o->count = 0;
	buf_fini(&o->list);
	buf_init(&o->list, e->mem);
}

static void out_free(struct engine *e, struct state_out *o)
{
	lent_give_back(e, o);
	memset(o, 0, sizeof *o);
}

void state_send_reset(struct engine *e)
{
	for (uint32_t i = 0; i < STATES_OUT; i++)
		if (e->states_out[i].voter)
			out_free(e, &e->states_out[i]);
	e->state_ask.voter = 0;
}

uint64_t state_send_floor(const struct engine *e)
{
	uint64_t floor = UINT64_MAX;

	for (uint32_t i = 0; i < STATES_OUT; i++)
		if (e->states_out[i].voter && e->states_out[i].pos + 1 < floor)
			floor = e->states_out[i].pos + 1;
	return floor;
}

static struct state_out *out_find(struct engine *e, uint64_t voter, uint64_t id)
{
	for (uint32_t i = 0; i < STATES_OUT; i++)
		if (e->states_out[i].voter == voter && e->states_out[i].id == id && e->states_out[i].count)
			return &e->states_out[i];
	return NULL;
}

static void lend_all(struct engine *e, struct state_out *o)
{
	uint32_t n = 0;

	LIST_FOREACH(it, atom_all(replica_store(e->rp)))
		n++;
	o->lent = mem_alloc(e->mem, n * sizeof *o->lent);
	LIST_FOREACH(it2, atom_all(replica_store(e->rp))) {
		struct frame *f = CONTAINER_OF(it2, struct frame, all);
		struct lent *l = &o->lent[o->count++];

		l->id = f->id;
		l->image = frame_image_ref(f, &l->bytes);
		o->bytes += l->bytes;
	}
	lent_sort(o->lent, o->count);
	buf_init(&o->list, e->mem);
	for (uint32_t i = 0; i < o->count; i++) {
		put_u64(&o->list, o->lent[i].id);
		put_u64(&o->list, o->lent[i].image->last_index);
		put_u32(&o->list, (uint32_t)o->lent[i].bytes);
	}
}

/* All that consensus has handed out is applied, and no transaction's parts are open: they are in no image. */
static bool settled(struct engine *e)
{
	return e->self && e->state == ENGINE_READY && !e->have_record && !e->applying &&
	       e->window.next == replica_applied(e->rp) + 1 && replica_oldest_part(e->rp) == UINT64_MAX;
}

static struct state_out *place_for(struct engine *e, uint64_t voter)
{
	struct state_out *free_one = NULL;

	for (uint32_t i = 0; i < STATES_OUT; i++) {
		struct state_out *o = &e->states_out[i];

		if (o->voter == voter) {
			out_free(e, o);
			return o;
		}
		if (!o->voter || (!o->count && !free_one))
			free_one = o;
	}
	if (free_one)
		out_free(e, free_one);
	return free_one;
}

static void send_to(struct engine *e, uint64_t voter, const struct buf *b)
{
	relay_voter_send(e->relay, voter, b->data, b->size);
}

static void send_head(struct engine *e, const struct state_out *o, uint64_t term)
{
	struct buf b;

	buf_init(&b, e->mem);
	put_u8(&b, VOTER_STATE_HEAD);
	put_u64(&b, o->id);
	put_u64(&b, e->recovered.identity.log_id);
	put_u64(&b, o->index);
	put_u64(&b, o->pos);
	put_u64(&b, term);
	put_u32(&b, o->count);
	put_u64(&b, o->bytes);
	seq_voters_encode(seq_current_voters(e->seq), &b);
	send_to(e, o->voter, &b);
	buf_fini(&b);
}

/*
 * The other journal may have entries that were never committed, up to where this one has got to. It begins anew behind the
 * state, so the state has to be behind them: an empty entry moves it on.
 */
static void move_on(struct engine *e)
{
	struct buf b;
	uint64_t pos;

	if (!engine_is_leader(e))
		return;
	buf_init(&b, e->mem);
	archive_seq_host.noop(e, &b);
	if (seq_propose(e->seq, engine_now(e), SEQ_NOOP, b.data, b.size, &pos) != ST_OK)
		log_event(e->log, LOG_ARCHIVE, LOG_DEBUG, "state has to wait", "pos=%llu",
			  (unsigned long long)e->committed_pos);
	buf_fini(&b);
}

void state_send_turn(struct engine *e)
{
	struct state_ask *a = &e->state_ask;
	struct state_out *o;
	struct seq_entry at;

	if (!a->voter || !e->seq)
		return;
	if (engine_now(e) - a->at_us > ASK_US) {
		a->voter = 0;
		return;
	}
	if (!settled(e) || !seq_entry_at(e->seq, e->committed_pos, &at))
		return;
	if (a->last >= at.pos) {
		a->voter = 0;
		move_on(e);
		return;
	}
	o = place_for(e, a->voter);
	if (!o) {
		a->voter = 0;
		return;
	}
	o->voter = a->voter;
	o->id = ++e->state_ids;
	o->index = replica_applied(e->rp);
	o->pos = at.pos;
	o->used_us = engine_now(e);
	a->voter = 0;
	lend_all(e, o);
	COVER(STATE_SENT);
	log_event(e->log, LOG_ARCHIVE, LOG_INFO, "state lent", "voter=%llu index=%llu images=%u bytes=%llu",
		  (unsigned long long)o->voter, (unsigned long long)o->index, o->count, (unsigned long long)o->bytes);
	send_head(e, o, at.term);
}

static void send_gone(struct engine *e, uint64_t voter, uint64_t id)
{
	struct buf b;

	buf_init(&b, e->mem);
	put_u8(&b, VOTER_STATE_GONE);
	put_u64(&b, id);
	send_to(e, voter, &b);
	buf_fini(&b);
}

static void send_part(struct engine *e, struct state_out *o, uint32_t item, uint32_t offset)
{
	const uint8_t *from = item ? (const uint8_t *)o->lent[item - 1].image : o->list.data;
	size_t bytes = item ? o->lent[item - 1].bytes : o->list.size, left;
	struct buf b;

	if (offset >= bytes)
		return;
	left = bytes - offset < STATE_PIECE_BYTES ? bytes - offset : STATE_PIECE_BYTES;
	buf_init(&b, e->mem);
	put_u8(&b, VOTER_STATE_PART);
	put_u64(&b, o->id);
	put_u32(&b, item);
	put_u32(&b, (uint32_t)bytes);
	put_u32(&b, offset);
	buf_put(&b, from + offset, left);
	send_to(e, o->voter, &b);
	buf_fini(&b);
	o->used_us = engine_now(e);
}

void state_send_message(struct engine *e, uint64_t voter, uint8_t type, struct reader *r)
{
	uint64_t id = get_u64(r);
	struct state_out *o;
	uint32_t item, offset;

	if (type == VOTER_STATE_ASK) {
		if (!r->bad)
			e->state_ask = (struct state_ask){voter, id, engine_now(e)};
		return;
	}
	o = out_find(e, voter, id);
	if (type == VOTER_STATE_END) {
		if (o) {
			lent_give_back(e, o); /* the journal behind it stays a while */
			o->used_us = engine_now(e);
		}
		return;
	}
	item = get_u32(r);
	offset = get_u32(r);
	if (r->bad)
		return;
	if (o && item <= o->count)
		send_part(e, o, item, offset);
	else
		send_gone(e, voter, id);
}

void state_send_tick(struct engine *e)
{
	for (uint32_t i = 0; i < STATES_OUT; i++) {
		struct state_out *o = &e->states_out[i];

		if (!o->voter)
			continue;
		if (engine_now(e) - o->used_us > (o->count ? SILENT_US : KEEP_US) ||
		    (!o->count && e->seq && seq_match(e->seq, o->voter) > o->pos)) /* it reads on from there */
			out_free(e, o);
	}
}
