/*
 * archive.c - an archive's side: the store, its voter in the consensus, checkpoints (engine; design section 7, P21, P23).
 *
 * Start-up: open the store; with data, install the images, take the state as of the checkpoint, and let consensus
 * hand out what is committed behind it. A checkpoint takes refs on the images of all changed atoms at one index
 * (S9: they stay as they are while the loop goes on), and writes them paced, newest atoms first: an atom that
 * was split off is durable no later than the newer image of the one it came from. The root goes last, with the mark
 * that makes the checkpoint valid. A crash in between leaves some images newer than the checkpoint; replay skips for each
 * what it contains.
 */
#include "base/cover.h"
#include "engine/engine_int.h"

#include <stdio.h>

#define CHECKPOINT_IMAGES 16          /* per transaction */
#define CHECKPOINT_BATCHES 2          /* under way */
#define CHECKPOINT_BYTES_DEFAULT (64u << 20)
#define GONE_VOTER_US 2000000         /* the link to one that is out of the list stays so long */

struct checkpoint_work {
	seq_index index;
	uint64_t pos, journal_bytes;
	struct lent *lent;
	uint32_t count, written, done;
	uint64_t token_first, token_next;
	struct buf voters;
	bool last_sent;
	VEC(uint32_t) batch_counts;       /* images per batch under way, in order */
};

/* -- consensus' effects ------------------------------------------------------------------------------------ */

static void host_persist(void *ctx, const struct seq_persist *p)
{
	struct engine *e = ctx;

	e->store->ops->journal(e->store, p);
}

static void host_send(void *ctx, uint64_t voter_id, const void *data, size_t bytes)
{
	struct engine *e = ctx;
	struct buf b;

	buf_init(&b, e->mem);
	put_u8(&b, VOTER_RAFT);
	buf_put(&b, data, bytes);
	relay_voter_send(e->relay, voter_id, b.data, b.size);
	buf_fini(&b);
}

static void host_committed(void *ctx, const struct seq_entry *entry)
{
	struct engine *e = ctx;
	const void *data = entry->data;
	size_t bytes = entry->bytes;

	if (entry->kind == SEQ_CONFIG) {
		struct reader r = reader_init(data, bytes);
		uint32_t skip = get_u32(&r);
		struct seq_voters v;

		if (!get_raw(&r, skip))
			return;
		if (seq_entry_voters(entry, &v))
			e->vote_gone = !seq_voters_find(&v, e->me.voter_id, NULL);
		data = r.p;
		bytes = reader_left(&r);
	}
	if (entry->pos > e->checkpoint_pos) /* what is before it is in the images; no parts are open at a checkpoint */
		log_receive(e, data, bytes, entry->pos);
	e->committed_pos = entry->pos;
	e->kicked = true;
}

static void host_role(void *ctx, enum seq_role role, uint64_t term, uint64_t leader_voter_id)
{
	struct engine *e = ctx;
	const struct member *m = replica_member_by_voter(e->rp, leader_voter_id);

	log_event(e->log, LOG_SEQUENCER, LOG_INFO, "role", "role=%d term=%llu leader=%llu", (int)role,
		  (unsigned long long)term, (unsigned long long)leader_voter_id);
	leader_role(e, role);
	e->leader_id = m ? m->id : 0;
	if (e->relay)
		relay_set_leader(e->relay, e->leader_id);
	e->resubmit = true;
	e->kicked = true;
}

void archive_voters_to_relay(struct engine *e)
{
	uint64_t ids[SEQ_VOTERS_MAX + 1];
	char addresses[SEQ_VOTERS_MAX + 1][NET_ADDRESS_MAX];
	uint32_t n = 0;

	for (uint32_t i = 0; i < e->voters.count; i++) {
		ids[n] = e->voters.at[i].id;
		snprintf(addresses[n++], sizeof addresses[0], "%s", e->voters.at[i].address);
	}
	if (e->gone_voter_until_us && n <= SEQ_VOTERS_MAX) {
		ids[n] = e->gone_voter.id;
		snprintf(addresses[n++], sizeof addresses[0], "%s", e->gone_voter.address);
	}
	if (e->relay)
		relay_set_voters(e->relay, e->me.voter_id, ids, (const char (*)[NET_ADDRESS_MAX])addresses, n);
}

static void host_config(void *ctx, const struct seq_voters *v)
{
	struct engine *e = ctx;

	for (uint32_t i = 0; i < e->voters.count; i++)
		if (e->voters.at[i].id != e->me.voter_id && !seq_voters_find(v, e->voters.at[i].id, NULL)) {
			e->gone_voter = e->voters.at[i];
			e->gone_voter_until_us = engine_now(e) + GONE_VOTER_US;
		}
	e->voters = *v;
	archive_voters_to_relay(e);
}

static bool host_read(void *ctx, uint64_t pos, struct seq_entry *out)
{
	struct engine *e = ctx;

	return e->store->ops->journal_read(e->store, pos, out) == ST_OK;
}

static void host_too_old(void *ctx, uint64_t voter_id)
{
	struct engine *e = ctx;
	struct error err;

	if (voter_id != e->me.voter_id) {
		log_event(e->log, LOG_SEQUENCER, LOG_WARN, "voter is too far behind", "voter=%llu",
			  (unsigned long long)voter_id);
		return;
	}
	if (!seq_stuck(e->seq)) { /* the others no longer have the log that it needs: archive_turn() sees to it */
		e->need_state = true;
		e->kicked = true;
		return;
	}
	error_set(&err, ST_CORRUPT, "the journal here lacks an entry that is committed");
	error_hint(&err, "start this archive with an empty data directory and --join");
	engine_fail(e, &err);
}

static void host_noop(void *ctx, struct buf *out)
{
	struct engine *e = ctx;
	size_t at = out->size;

	batch_begin(out, 0, 0, 0, e->self);
	batch_end(out, at);
}

const struct seq_host archive_seq_host = {
	.persist = host_persist,
	.send = host_send,
	.committed = host_committed,
	.role = host_role,
	.config = host_config,
	.read = host_read,
	.too_old = host_too_old,
	.noop = host_noop,
};

static void read_done(void *ctx, uint64_t request_id, bool ok, uint64_t committed_pos)
{
	struct engine *e = ctx;

	(void)committed_pos;
	for (size_t i = 0; i < e->latest.count; i++) {
		struct latest_ask a = e->latest.at[i];
		struct buf b;

		if (a.id != request_id)
			continue;
		e->latest.at[i] = e->latest.at[--e->latest.count];
		if (!ok)
			return; /* it asks again, whoever leads then */
		buf_init(&b, e->mem);
		put_u8(&b, MSG_LATEST_IS);
		put_u64(&b, a.request);
		put_u64(&b, e->window.next - 1); /* all that is committed has been handed out */
		relay_send(e->relay, a.engine, b.data, b.size);
		buf_fini(&b);
		return;
	}
}

/* -- store's events -------------------------------------------------------------------------------------------- */

static void on_journaled(void *ctx, uint64_t token)
{
	struct engine *e = ctx;

	if (e->seq) /* closed: what was under way is of before */
		seq_persisted(e->seq, engine_now(e), token);
	e->kicked = true;
}

static void checkpoint_written(struct engine *e);

static void on_images_written(void *ctx, uint64_t token)
{
	struct engine *e = ctx;

	(void)token;
	if (e->state_in)
		state_take_written(e);
	else
		checkpoint_written(e);
}

static void on_failed(void *ctx, const struct error *err)
{
	engine_fail(ctx, err);
}

static const struct store_events store_events = {
	.journaled = on_journaled,
	.images_written = on_images_written,
	.failed = on_failed,
};

/* -- opening ------------------------------------------------------------------------------------------------------ */

struct load { struct engine *e; VEC(atom_id) ids; };

static void note_image(void *ctx, atom_id id, seq_index as_of, size_t bytes)
{
	struct load *l = ctx;

	(void)as_of;
	(void)bytes;
	VEC_PUSH(l->e->mem, &l->ids, id);
}

static enum status load_image(struct engine *e, atom_id id, struct error *err)
{
	const void *image;
	size_t bytes;
	seq_index as_of;
	struct frame *f;
	enum status st = e->store->ops->image_read(e->store, id, &image, &bytes, &as_of);

	if (st == ST_OK && id == IMAGE_ID_VOTERS) {
		struct reader r = reader_init(image, bytes);

		if (!seq_voters_decode(&r, &e->voters))
			st = ST_CORRUPT;
		e->voters_pos = as_of;
		return st ? error_set(err, st, "the stored list of voters is damaged") : ST_OK;
	}
	if (st == ST_OK && id == IMAGE_ID_BASE) {
		struct reader r = reader_init(image, bytes);

		e->base_pos = get_u64(&r);
		e->base_term = get_u64(&r);
		return r.bad ? error_set(err, ST_CORRUPT, "where the journal begins is damaged") : ST_OK;
	}
	if (st == ST_OK)
		st = replica_install(e->rp, image, bytes, NULL, 0, as_of, &f);
	if (st)
		return error_set(err, st, "stored image of atom %llu: %s", (unsigned long long)id, status_text(st));
	return ST_OK;
}

static enum status load_images(struct engine *e, struct error *err)
{
	struct load l = {.e = e};
	enum status st = e->store->ops->image_each(e->store, &l, note_image);

	for (size_t i = 0; st == ST_OK && i < l.ids.count; i++)
		st = load_image(e, l.ids.at[i], err);
	VEC_FINI(e->mem, &l.ids);
	if (st)
		return st;
	st = replica_restart(e->rp, e->recovered.checkpoint);
	return st ? error_set(err, st, "the stored images have no root") : ST_OK;
}

/* The newest list of voters in the journal behind the checkpoint. */
static enum status find_voters(struct engine *e, struct error *err)
{
	uint64_t from = e->recovered.checkpoint_pos + 1;

	if (from < e->recovered.first_pos)
		from = e->recovered.first_pos;
	for (uint64_t pos = from; pos <= e->recovered.last_pos; pos++) {
		struct seq_entry entry;
		enum status st = e->store->ops->journal_read(e->store, pos, &entry);

		if (st)
			return error_set(err, st, "journal position %llu: %s", (unsigned long long)pos,
					 status_text(st));
		if (entry.kind == SEQ_CONFIG) {
			struct reader r = reader_init(entry.data, entry.bytes);

			(void)get_u32(&r);
			if (!seq_voters_decode(&r, &e->voters))
				return error_set(err, ST_CORRUPT, "a list of voters in the journal is damaged");
		}
	}
	if (!e->voters.count && !e->contact_count) { /* the founder, alone; one that joins is told */
		e->voters.count = 1;
		e->voters.at[0].id = e->me.voter_id;
		e->voters.at[0].votes = true;
	}
	for (uint32_t i = 0; i < e->voters.count; i++)
		if (e->voters.at[i].id == e->me.voter_id)
			snprintf(e->voters.at[i].address, sizeof e->voters.at[i].address, "%s", e->me.address);
	return ST_OK;
}

static enum status seq_start(struct engine *e, struct error *err)
{
	struct seq_config c = {
		.mem = e->mem,
		.log = e->log,
		.self = e->me.voter_id,
		.seed = rng_next(&e->rng),
		.host = &archive_seq_host,
		.ctx = e,
		.term = e->recovered.term,
		.vote = e->recovered.vote,
		.first_pos = e->recovered.first_pos,
		.last_pos = e->recovered.last_pos,
		.last_term = e->recovered.last_term,
		.before_term = e->recovered.before_term,
		.committed_pos = e->recovered.checkpoint_pos,
		.voters = e->voters,
		.may_vote = !e->recovered.short_journal,
		.window_bytes = e->cfg.window_bytes,
	};
	enum status st;

	if (c.committed_pos > c.last_pos) /* the journal lost its tail: what the images have is behind us anyway */
		c.committed_pos = c.last_pos;
	e->committed_pos = c.committed_pos;
	st = seq_open(&c, engine_now(e), &e->seq);
	if (st)
		return error_set(err, st, "the journal cannot be used: %s", status_text(st));
	seq_set_read_fn(e->seq, read_done);
	timer_arm(e->timers, &e->seq_timer, engine_now(e));
	archive_voters_to_relay(e);
	return ST_OK;
}

static enum status identity_make(struct engine *e, uint64_t log_id, struct error *err)
{
	struct store_identity id = {.log_id = log_id, .voter_id = e->me.voter_id, .format = STORE_FORMAT_VERSION};
	enum status st = e->store->ops->set_identity(e->store, &id, err);

	e->recovered.identity = id;
	return st;
}

/*
 * What the journal has up to base_pos is of before a state was taken: it goes on behind that, whether or not anything was
 * written to it since.
 */
static enum status base_apply(struct engine *e, struct error *err)
{
	struct store_recovered *r = &e->recovered;

	if (!e->base_pos || r->first_pos > e->base_pos + 1)
		return ST_OK;
	if (r->first_pos == e->base_pos + 1) {
		r->before_term = e->base_term;
		return ST_OK;
	}
	if (r->last_pos > e->base_pos)
		return error_set(err, ST_CORRUPT, "the journal (position %llu) does not fit the state taken at %llu",
				 (unsigned long long)r->last_pos, (unsigned long long)e->base_pos);
	r->first_pos = e->base_pos + 1;
	r->last_pos = e->base_pos;
	r->last_term = r->before_term = e->base_term;
	if (r->term < e->base_term) {
		r->term = e->base_term;
		r->vote = 0;
	}
	return ST_OK;
}

/* The checkpoint and the journal do not meet, or a state was being taken: only another archive can help. */
static bool state_missing(const struct engine *e)
{
	const struct store_recovered *r = &e->recovered;

	if (r->checkpoint)
		return r->checkpoint_pos + 1 < r->first_pos;
	return r->first_pos > 1 || e->voters.count;
}

static enum status checkpoint_load(struct engine *e, struct error *err)
{
	const void *image;
	size_t bytes;
	seq_index as_of;
	enum status st;

	if (!e->recovered.checkpoint) {
		replica_genesis(e->rp);
		if (!e->recovered.image_count || e->store->ops->image_read(e->store, IMAGE_ID_VOTERS, &image, &bytes, &as_of) != ST_OK)
			return ST_OK;
		return load_image(e, IMAGE_ID_VOTERS, err); /* whom to ask */
	}
	st = load_images(e, err);
	if (st)
		return st;
	e->checkpoint_index = e->recovered.checkpoint;
	e->checkpoint_pos = e->recovered.checkpoint_pos;
	e->window.next = e->recovered.checkpoint + 1;
	return base_apply(e, err);
}

/* What the store has becomes this archive's state, and consensus goes on from it. */
static enum status archive_begin(struct engine *e, struct error *err)
{
	struct store_config c = {.mem = e->mem, .log = e->log, .dir = e->cfg.dir, .disk = e->cfg.disk,
				 .journal_bytes = e->cfg.journal_bytes, .events = &store_events, .ctx = e};
	enum status st = e->cfg.store_ops->open(&c, &e->store, &e->recovered, err);
	bool fresh;

	if (st)
		return st;
	e->stores_opened++;
	fresh = !e->recovered.identity.log_id;
	e->window.next = 1;
	if (!fresh && e->recovered.short_journal) {
		/* P23: never carry on with it; the others have it all */
		error_set(err, ST_CORRUPT, "the journal lost acknowledged records (position %llu of %llu)",
			  (unsigned long long)e->recovered.last_pos, (unsigned long long)e->recovered.end_mark_pos);
		error_hint(err, "start this archive with an empty data directory and --join, or restore a backup");
		return ST_CORRUPT;
	}
	e->me.voter_id = fresh ? rng_next(&e->rng) >> 1 | 1 : e->recovered.identity.voter_id;
	st = checkpoint_load(e, err);
	if (st)
		return st;
	if (fresh && e->contact_count)
		return ST_OK; /* the cluster's log id and voters come with the answer to the join */
	if (fresh) {
		st = identity_make(e, rng_next(&e->rng) >> 1 | 1, err);
		if (st)
			return st;
		log_event(e->log, LOG_ENGINE, LOG_INFO, "cluster founded", "log_id=%llx",
			  (unsigned long long)e->recovered.identity.log_id);
	}
	relay_set_log_id(e->relay, e->recovered.identity.log_id);
	if (!fresh && state_missing(e)) {
		e->need_state = true;
		archive_voters_to_relay(e);
		return ST_OK;
	}
	st = find_voters(e, err);
	return st ? st : seq_start(e, err);
}

/* Called with the relay open: its address is known. */
enum status archive_open(struct engine *e, struct error *err)
{
	return archive_begin(e, err);
}

/* -- taking the whole state ----------------------------------------------------------------------------------------- */

static void consensus_close(struct engine *e)
{
	uint64_t last = e->seq ? seq_last(e->seq) : e->recovered.last_pos, leader = e->seq ? seq_leader(e->seq) : 0;

	leader_role(e, SEQ_FOLLOWER);
	state_send_reset(e);
	timer_cancel(e->timers, &e->seq_timer);
	if (e->seq)
		seq_close(e->seq);
	e->seq = NULL;
	e->latest.count = 0;
	state_take_begin(e, last, leader);
}

/* It is no member, or not for long: those behind it hear of that in the log. Sessions stay, their transactions end. */
static void state_begin(struct engine *e)
{
	e->need_state = false;
	if (e->self || e->state == ENGINE_READY)
		member_rejoin(e);
	consensus_close(e);
}

/* As a start of this archive would, from what is on its disk now. */
static void state_end(struct engine *e)
{
	struct error err;

	state_take_fini(e);
	e->store->ops->close(e->store);
	e->store = NULL;
	member_forget(e);
	e->applied_pos = e->committed_pos = e->checkpoint_pos = e->checkpoint_journal_bytes = 0;
	e->checkpoint_index = 0;
	e->base_pos = e->base_term = 0;
	e->gone.count = 0;
	e->vote_gone = false;
	catchup_journal_changed(e);
	if (archive_begin(e, &err) != ST_OK) {
		engine_fail(e, &err);
		return;
	}
	member_start(e);
}

/* True: there is no consensus to be stepped. */
static bool state_turn(struct engine *e)
{
	if (e->need_state && !e->checkpoint)
		state_begin(e);
	if (!e->state_in)
		return !e->seq;
	if (state_take_turn(e))
		state_end(e);
	return !e->seq;
}

void archive_joined(struct engine *e, uint64_t log_id, const struct seq_voters *voters)
{
	struct error err;

	if (e->need_state || e->state_in) { /* whom to ask for it */
		e->voters = *voters;
		archive_voters_to_relay(e);
		return;
	}
	if (e->seq) { /* it has data, but its vote was removed when it left: the leader will write to it */
		if (!archive_votes(e)) {
			e->voters = *voters;
			archive_voters_to_relay(e);
		}
		return;
	}
	e->voters = *voters;
	/* of its own vote it hears from the log only: an earlier join, whose answer was lost, may be in the list */
	for (uint32_t i = 0; i < e->voters.count; i++)
		if (e->voters.at[i].id == e->me.voter_id)
			e->voters.at[i].votes = false;
	relay_set_log_id(e->relay, log_id);
	if (identity_make(e, log_id, &err) != ST_OK || seq_start(e, &err) != ST_OK)
		engine_fail(e, &err);
}

bool archive_votes(const struct engine *e)
{
	return seq_voters_find(seq_current_voters(e->seq), e->me.voter_id, NULL);
}

void archive_tick(struct engine *e)
{
	if (e->archive)
		state_send_tick(e);
	if (e->gone_voter_until_us && engine_now(e) > e->gone_voter_until_us) {
		e->gone_voter_until_us = 0;
		archive_voters_to_relay(e);
	}
}

/*
 * A vote stays with an archive that leaves for as long as the others have a majority without it: it comes back and votes,
 * as after a crash. Else the leader takes it out of the list (leader.c), and this archive does not end before that is
 * committed: what it leaves behind must be able to go on.
 */
enum vote_end archive_vote_end(struct engine *e)
{
	const struct seq_voters *v = seq_current_voters(e->seq);
	uint32_t others = 0, live = 0;

	if (e->vote_gone)
		return VOTE_REMOVED;
	for (uint32_t i = 0; i < v->count; i++) {
		if (v->at[i].id == e->me.voter_id || !v->at[i].votes)
			continue;
		others++;
		live += replica_member_by_voter(e->rp, v->at[i].id) != NULL;
	}
	if (!others)
		return VOTE_LAST;
	return live * 2 > seq_voting(v) ? VOTE_KEPT : VOTE_WAITS;
}

/* -- checkpoints ---------------------------------------------------------------------------------------------------- */

static void checkpoint_free(struct engine *e)
{
	struct checkpoint_work *w = e->checkpoint;

	for (uint32_t i = w->done; i < w->count; i++)
		atom_image_unref(replica_store(e->rp), w->lent[i].image);
	mem_free(e->mem, w->lent, (w->count ? w->count : 1) * sizeof *w->lent);
	buf_fini(&w->voters);
	VEC_FINI(e->mem, &w->batch_counts);
	MEM_FREE(e->mem, w);
	e->checkpoint = NULL;
}

void archive_close(struct engine *e)
{
	if (e->store)
		e->store->ops->close(e->store); /* waits for what is under way: refs are free then */
	e->store = NULL;
	state_take_fini(e);
	state_send_reset(e);
	if (e->checkpoint)
		checkpoint_free(e);
	if (e->seq)
		seq_close(e->seq);
	e->seq = NULL;
	VEC_FINI(e->mem, &e->gone);
	VEC_FINI(e->mem, &e->latest);
}

void archive_frame_gone(struct engine *e, struct frame *f)
{
	if (e->archive)
		VEC_PUSH(e->mem, &e->gone, f->id);
}

void lent_sort(struct lent *at, uint32_t n)
{
	for (uint32_t gap = n / 2; gap; gap /= 2) /* Shell's sort: n is some thousands, once in 64 MiB of journal */
		for (uint32_t i = gap; i < n; i++) {
			struct lent t = at[i];
			uint32_t k = i;

			for (; k >= gap && at[k - gap].id < t.id; k -= gap)
				at[k] = at[k - gap];
			at[k] = t;
		}
}

/* The root goes with every checkpoint: it comes last, with the mark. What genesis made is in none before the first. */
static bool checkpoint_wants(const struct engine *e, const struct frame *f)
{
	return f->dirty_since || f->id == ATOM_ID_ROOT || !e->checkpoint_index;
}

static void checkpoint_start(struct engine *e)
{
	struct checkpoint_work *w = MEM_NEW(e->mem, struct checkpoint_work);
	uint32_t n = 0;

	LIST_FOREACH(it, atom_all(replica_store(e->rp)))
		if (checkpoint_wants(e, CONTAINER_OF(it, struct frame, all)))
			n++;
	w->lent = mem_alloc(e->mem, (n ? n : 1) * sizeof *w->lent);
	LIST_FOREACH(it2, atom_all(replica_store(e->rp))) {
		struct frame *f = CONTAINER_OF(it2, struct frame, all);
		struct lent *l = &w->lent[w->count];

		if (!checkpoint_wants(e, f))
			continue;
		l->id = f->id;
		l->image = frame_image_ref(f, &l->bytes);
		f->dirty_since = 0;
		w->count++;
	}
	lent_sort(w->lent, w->count);
	w->index = replica_applied(e->rp);
	w->pos = e->applied_pos;
	w->journal_bytes = e->store->ops->journal_bytes(e->store);
	buf_init(&w->voters, e->mem);
	seq_voters_encode(&e->voters, &w->voters);
	e->checkpoint = w;
	log_event(e->log, LOG_ARCHIVE, LOG_INFO, "checkpoint", "index=%llu images=%u",
		  (unsigned long long)w->index, w->count);
}

/* The last transaction: the root, what is gone, the voters, and the mark. */
static void write_last(struct engine *e)
{
	struct checkpoint_work *w = e->checkpoint;
	uint32_t n = (uint32_t)e->gone.count + 2, k = 0;
	struct store_image *images = mem_alloc(e->mem, n * sizeof *images);
	seq_index oldest_part = replica_oldest_part(e->rp);
	struct logged *part = oldest_part == UINT64_MAX ? NULL : window_find(&e->window, oldest_part);
	struct store_image_batch b = {.token = w->token_next++, .images = images, .completes = true,
				      .checkpoint = w->index, .checkpoint_pos = w->pos};
	struct lent *root = &w->lent[w->count - 1];

	(void)part;
	ASSERT_OP(root->id, ==, ATOM_ID_ROOT);
	for (size_t i = 0; i < e->gone.count; i++)
		images[k++] = (struct store_image){.id = e->gone.at[i], .as_of = w->index, .remove = true};
	e->gone.count = 0;
	images[k++] = (struct store_image){.id = IMAGE_ID_VOTERS, .as_of = w->index, .image = w->voters.data,
					   .image_bytes = w->voters.size};
	images[k++] = (struct store_image){.id = root->id, .as_of = w->index, .image = root->image,
					   .image_bytes = root->bytes};
	b.count = k;
	w->last_sent = true;
	VEC_PUSH(e->mem, &w->batch_counts, 1);
	w->written = w->count;
	e->store->ops->write_images(e->store, &b);
	mem_free(e->mem, images, n * sizeof *images);
}

static void checkpoint_step(struct engine *e)
{
	struct checkpoint_work *w = e->checkpoint;

	while (!w->last_sent && w->batch_counts.count < CHECKPOINT_BATCHES) {
		struct store_image images[CHECKPOINT_IMAGES];
		struct store_image_batch b = {.token = w->token_next, .images = images};

		if (w->written == w->count - 1) {
			write_last(e);
			return;
		}
		while (b.count < CHECKPOINT_IMAGES && w->written < w->count - 1) {
			struct lent *l = &w->lent[w->written++];

			images[b.count++] = (struct store_image){.id = l->id, .as_of = w->index, .image = l->image,
								 .image_bytes = l->bytes};
		}
		w->token_next++;
		VEC_PUSH(e->mem, &w->batch_counts, b.count);
		e->store->ops->write_images(e->store, &b);
	}
}

static void checkpoint_written(struct engine *e)
{
	struct checkpoint_work *w = e->checkpoint;
	uint64_t keep = e->cfg.checkpoint_bytes > e->cfg.journal_bytes ? e->cfg.checkpoint_bytes : e->cfg.journal_bytes;

	ASSERT(w && w->batch_counts.count);
	for (uint32_t i = 0; i < w->batch_counts.at[0]; i++)
		atom_image_unref(replica_store(e->rp), w->lent[w->done++].image);
	memmove(w->batch_counts.at, w->batch_counts.at + 1, (--w->batch_counts.count) * sizeof *w->batch_counts.at);
	e->kicked = true;
	if (w->done < w->count)
		return;
	COVER(CHECKPOINT);
	e->checkpoint_index = w->index;
	e->checkpoint_journal_bytes = w->journal_bytes;
	if (w->pos > e->checkpoint_pos && e->store->ops->journal_bytes(e->store) > keep) {
		/* journal behind the checkpoint before this one goes: nobody replays from there */
		uint64_t below = e->checkpoint_pos + 1, floor = state_send_floor(e);

		if (below > floor)
			below = floor;
		seq_truncate_window(e->seq, below);
		e->store->ops->journal_drop(e->store, below);
		catchup_journal_changed(e);
	}
	e->checkpoint_pos = w->pos;
	checkpoint_free(e);
}

static bool checkpoint_due(struct engine *e)
{
	uint64_t bytes = e->store->ops->journal_bytes(e->store);

	if (bytes < e->checkpoint_journal_bytes)
		e->checkpoint_journal_bytes = 0; /* files were removed */
	/* at a whole batch only, that is durable here, with no transaction's parts open (they would be lost) */
	return bytes - e->checkpoint_journal_bytes > e->cfg.checkpoint_bytes && !e->have_record && !e->applying &&
	       replica_applied(e->rp) > e->checkpoint_index &&
	       e->applied_pos && e->applied_pos <= seq_persisted_pos(e->seq) &&
	       replica_oldest_part(e->rp) == UINT64_MAX;
}

void archive_turn(struct engine *e)
{
	if (e->state == ENGINE_FAILED || !e->store)
		return;
	if (e->checkpoint)
		checkpoint_step(e);
	if (state_turn(e) || e->state == ENGINE_FAILED)
		return;
	if (seq_next_us(e->seq) <= engine_now(e))
		seq_tick(e->seq, engine_now(e));
	timer_arm(e->timers, &e->seq_timer, seq_next_us(e->seq));
	if (!e->checkpoint && !e->need_state && checkpoint_due(e)) {
		checkpoint_start(e);
		checkpoint_step(e);
	}
}
