/*
 * state_take.c - an archive that is new, or was away for too long, takes the whole state from another one (engine; doc/adr/0012).
 *
 *   ASK --head--> LIST --all of it--> IMAGES --all durable--> LAST --durable--> DONE: the archive opens its store anew
 *    ^             |                    |
 *    +--- nothing comes, it is gone, it is damaged: the next voter is asked; images that are here stay
 *
 * It takes part in nothing meanwhile: its consensus is closed, its votes and promises stay in the journal. Before the first image
 * is written the checkpoint on disk is declared void, and a crash from then on begins with ASK again. An image that is on disk with
 * the same index of its last change is not asked for again (rule 2: it has the same bytes). So an archive that was away gets what
 * changed, and a transfer that broke off goes on where it was.
 *
 * Pieces are asked for in order, STATE_WINDOW_BYTES ahead; one that is lost is missed when nothing more comes, and everything
 * from it on is asked for again. Images wait for the disk in at most BATCHES batches: memory is bounded whatever the state's size.
 */
#include "base/cover.h"
#include "atoms/atoms_disk.h"
#include "engine/engine_int.h"
#include "engine/state_wire.h"

#define WINDOW_BYTES (1u << 20)
#define BATCH_IMAGES 16
#define BATCH_BYTES (4u << 20)
#define BATCHES 2          /* that wait for the disk: then no more is asked for */
#define AHEAD_IMAGES 64    /* from the one that comes to the one that is asked for */
#define OUT_MAX (BATCHES + AHEAD_IMAGES / BATCH_IMAGES + 2) /* what was asked for comes all the same; and the last */
#define REMOVES 256
#define LOOKS 64           /* at images on disk, in one turn */
#define ASK_AGAIN_US 500000
#define PIECE_AGAIN_US 500000
#define GIVE_UP_US 3000000 /* without a piece */
#define OTHER_VOTER_ASKS 3

enum state_phase { STATE_ASK, STATE_LIST, STATE_IMAGES, STATE_LAST, STATE_DONE };
struct item { atom_id id; seq_index changed; uint32_t bytes; bool here; };
struct batch_out { struct store_image images[BATCH_IMAGES]; uint32_t count; size_t bytes; bool last; };

struct state_in {
	enum state_phase phase;
	uint64_t own_last;           /* newest position of the own journal */
	uint64_t from, id;           /* voter; 0: nobody yet */
	uint32_t voter_at, asks;
	uint64_t asked_us, came_us, began_us;
	seq_index index;
	uint64_t pos, term;
	struct seq_voters voters;
	struct buf voters_data, base_data;
	uint32_t count;
	struct item *items;
	uint8_t *list;               /* while it comes */
	uint32_t list_bytes;
	/* Item 0 is the list. What is asked for next, what is to come next. */
	uint32_t ask_item, ask_offset, get_item, get_offset, flying_bytes;
	uint8_t *image;              /* the one that comes */
	struct batch_out next, out[OUT_MAX];
	uint32_t out_count;          /* batches that the disk has not confirmed */
	uint32_t quiet_count;        /* and writes before them that have nothing of ours to free */
	uint64_t token;
	bool voided;                 /* the checkpoint on disk */
	VEC(atom_id) on_disk;        /* what was there when the images began, in order of id */
	size_t remove_at;
	uint64_t taken, taken_bytes;
};

static void batch_free(struct engine *e, struct batch_out *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (!b->images[i].remove)
			mem_free(e->mem, (void *)(uintptr_t)b->images[i].image, b->images[i].image_bytes);
	memset(b, 0, sizeof *b);
}

/* What came of the state that was being taken; what the disk has been given stays until it is written. */
static void attempt_drop(struct engine *e, struct state_in *in)
{
	batch_free(e, &in->next);
	if (in->image)
		mem_free(e->mem, in->image, in->items[in->get_item - 1].bytes);
	in->image = NULL;
	mem_free(e->mem, in->list, in->list_bytes);
	in->list = NULL;
	mem_free(e->mem, in->items, in->count * sizeof *in->items);
	in->items = NULL;
	in->count = in->list_bytes = 0;
	in->from = in->id = 0;
	in->phase = STATE_ASK;
}

void state_take_fini(struct engine *e)
{
	struct state_in *in = e->state_in;

	if (!in)
		return;
	attempt_drop(e, in);
	for (uint32_t i = 0; i < in->out_count; i++)
		batch_free(e, &in->out[i]);
	VEC_FINI(e->mem, &in->on_disk);
	buf_fini(&in->voters_data);
	buf_fini(&in->base_data);
	MEM_FREE(e->mem, in);
	e->state_in = NULL;
}

void state_take_begin(struct engine *e, uint64_t own_last, uint64_t leader)
{
	struct state_in *in = MEM_NEW(e->mem, struct state_in);

	while (in->voter_at < e->voters.count && e->voters.at[in->voter_at].id != leader)
		in->voter_at++;

	in->own_last = own_last;
	in->began_us = engine_now(e);
	buf_init(&in->voters_data, e->mem);
	buf_init(&in->base_data, e->mem);
	e->state_in = in;
	e->kicked = true;
	log_event(e->log, LOG_ARCHIVE, LOG_WARN, "taking the state from another archive", "last=%llu",
		  (unsigned long long)own_last);
}

static void send(struct engine *e, const struct buf *b, uint64_t voter)
{
	relay_voter_send(e->relay, voter, b->data, b->size);
}

/* -- asking ------------------------------------------------------------------------------------------------------ */

static void ask(struct engine *e, struct state_in *in)
{
	const struct seq_voters *v = &e->voters;
	struct buf b;

	if (!v->count)
		return; /* told with the answer to the join */
	if (++in->asks % OTHER_VOTER_ASKS == 0)
		in->voter_at++;
	for (uint32_t i = 0; i < v->count; i++)
		if (v->at[(in->voter_at + i) % v->count].id != e->me.voter_id) {
			in->voter_at = (in->voter_at + i) % v->count;
			break;
		}
	in->asked_us = engine_now(e);
	buf_init(&b, e->mem);
	put_u8(&b, VOTER_STATE_ASK);
	put_u64(&b, in->own_last);
	send(e, &b, v->at[in->voter_at].id);
	buf_fini(&b);
}

static void piece_ask(struct engine *e, struct state_in *in, uint32_t bytes)
{
	uint32_t left = bytes - in->ask_offset, piece = left < STATE_PIECE_BYTES ? left : STATE_PIECE_BYTES;
	struct buf b;

	buf_init(&b, e->mem);
	put_u8(&b, VOTER_STATE_GET);
	put_u64(&b, in->id);
	put_u32(&b, in->ask_item);
	put_u32(&b, in->ask_offset);
	send(e, &b, in->from);
	buf_fini(&b);
	in->flying_bytes += piece;
	in->ask_offset += piece;
	if (in->ask_offset < bytes)
		return;
	in->ask_offset = 0;
	in->ask_item++;
}

/* Is this very image on the disk? The root is always taken: it goes with the mark. */
static bool on_disk(struct engine *e, const struct item *it)
{
	const void *image;
	size_t bytes;
	seq_index as_of;

	return it->id != ATOM_ID_ROOT && e->store->ops->image_read(e->store, it->id, &image, &bytes, &as_of) == ST_OK &&
	       bytes == it->bytes && ((const struct atom_head *)image)->atom_id == it->id &&
	       ((const struct atom_head *)image)->last_index == it->changed && atom_image_check(image, bytes) == ST_OK;
}

/* The next one that is not on the disk. */
static void get_on(struct state_in *in)
{
	while (in->get_item && in->get_item <= in->count && in->items[in->get_item - 1].here)
		in->get_item++;
}

static void pieces_ask(struct engine *e, struct state_in *in)
{
	uint32_t looks = 0;

	if (in->phase == STATE_LIST) {
		while (in->ask_item == 0 && in->flying_bytes < WINDOW_BYTES)
			piece_ask(e, in, in->list_bytes);
		return;
	}
	while (in->phase == STATE_IMAGES && in->ask_item <= in->count && in->flying_bytes < WINDOW_BYTES &&
	       in->out_count < BATCHES) {
		struct item *it = &in->items[in->ask_item - 1];

		get_on(in);
		if (in->ask_item >= in->get_item + AHEAD_IMAGES)
			break;
		if (!in->ask_offset && !it->here) {
			if (looks++ == LOOKS) {
				e->kicked = true;
				break;
			}
			it->here = on_disk(e, it);
		}
		if (it->here) {
			COVER(STATE_RESUMED);
			in->ask_item++;
			continue;
		}
		piece_ask(e, in, it->bytes);
	}
}

/* -- to the disk ---------------------------------------------------------------------------------------------------- */

static void batch_write(struct engine *e, struct state_in *in)
{
	struct store_image_batch b = {.token = ++in->token, .images = in->next.images, .count = in->next.count};

	if (!in->next.count)
		return;
	ASSERT_OP(in->out_count, <, OUT_MAX);
	in->out[in->out_count++] = in->next;
	memset(&in->next, 0, sizeof in->next);
	b.images = in->out[in->out_count - 1].images;
	e->store->ops->write_images(e->store, &b);
}

/* From here on a start finds no checkpoint, and the voters whom it can ask. */
static void checkpoint_void(struct engine *e, struct state_in *in)
{
	struct store_image voters = {.id = IMAGE_ID_VOTERS, .as_of = 1};
	struct store_image_batch b = {.token = ++in->token, .count = 1, .images = &voters, .completes = true};

	if (in->voided)
		return;
	in->voided = true;
	seq_voters_encode(&e->voters, &in->voters_data);
	voters.image = in->voters_data.data;
	voters.image_bytes = in->voters_data.size;
	in->quiet_count++;
	e->store->ops->write_images(e->store, &b);
}

/* Ids on the disk that are in no image of the state, a transaction of them at a time. True: there are none left. */
static bool removed_stale(struct engine *e, struct state_in *in)
{
	struct store_image images[REMOVES];
	struct store_image_batch b = {.token = in->token + 1, .images = images};

	for (; in->remove_at < in->on_disk.count && b.count < REMOVES; in->remove_at++)
		images[b.count++] = (struct store_image){.id = in->on_disk.at[in->remove_at], .as_of = in->index, .remove = true};
	if (!b.count)
		return true;
	in->token++;
	in->quiet_count++;
	e->store->ops->write_images(e->store, &b);
	return false;
}

/* The root, the voters, where the journal goes on, and the mark that makes all of it the state. */
static void write_last(struct engine *e, struct state_in *in)
{
	struct batch_out *o = &in->out[in->out_count++];
	struct store_image images[3];
	struct store_image_batch b = {.token = ++in->token, .count = 3, .images = images, .completes = true,
				      .checkpoint = in->index, .checkpoint_pos = in->pos};

	ASSERT(in->next.count == 1 && in->next.images[0].id == ATOM_ID_ROOT);
	*o = in->next;
	o->last = true;
	memset(&in->next, 0, sizeof in->next);
	buf_reset(&in->voters_data);
	seq_voters_encode(&in->voters, &in->voters_data);
	buf_reset(&in->base_data);
	put_u64(&in->base_data, in->pos);
	put_u64(&in->base_data, in->term);
	images[0] = (struct store_image){.id = IMAGE_ID_VOTERS, .as_of = in->index, .image = in->voters_data.data,
					 .image_bytes = in->voters_data.size};
	images[1] = (struct store_image){.id = IMAGE_ID_BASE, .as_of = in->index, .image = in->base_data.data,
					 .image_bytes = in->base_data.size};
	images[2] = o->images[0];
	e->store->ops->write_images(e->store, &b);
}

void state_take_written(struct engine *e)
{
	struct state_in *in = e->state_in;

	e->kicked = true;
	if (in->quiet_count) { /* given before all that is out */
		in->quiet_count--;
		return;
	}
	ASSERT(in->out_count);
	if (in->out[0].last)
		in->phase = STATE_DONE;
	batch_free(e, &in->out[0]);
	in->out_count--;
	memmove(&in->out[0], &in->out[1], in->out_count * sizeof in->out[0]);
	memset(&in->out[in->out_count], 0, sizeof in->out[0]);
}

/* -- what comes -------------------------------------------------------------------------------------------------------- */

static void head_came(struct engine *e, struct state_in *in, uint64_t from, struct reader *r)
{
	uint64_t id = get_u64(r), log_id = get_u64(r);
	seq_index index = get_u64(r);
	uint64_t pos = get_u64(r), term = get_u64(r), bytes;
	uint32_t count = get_u32(r);
	struct seq_voters voters;

	bytes = get_u64(r);
	if (!seq_voters_decode(r, &voters) || r->bad || in->phase != STATE_ASK || in->out_count || in->quiet_count ||
	    log_id != e->recovered.identity.log_id || !count || count > STATE_COUNT_MAX || !index || !term ||
	    pos <= in->own_last)
		return;
	in->from = from;
	in->id = id;
	in->index = index;
	in->pos = pos;
	in->term = term;
	in->voters = voters;
	in->count = count;
	in->items = mem_alloc(e->mem, count * sizeof *in->items);
	memset(in->items, 0, count * sizeof *in->items);
	in->list_bytes = count * STATE_LIST_ITEM_BYTES;
	in->list = mem_alloc(e->mem, in->list_bytes);
	in->ask_item = in->ask_offset = in->get_item = in->get_offset = in->flying_bytes = 0;
	in->phase = STATE_LIST;
	in->came_us = engine_now(e);
	log_event(e->log, LOG_ARCHIVE, LOG_INFO, "state begins", "voter=%llu index=%llu images=%u bytes=%llu",
		  (unsigned long long)from, (unsigned long long)index, count, (unsigned long long)bytes);
	checkpoint_void(e, in);
}

static void note_id(void *ctx, atom_id id, seq_index as_of, size_t bytes)
{
	struct engine *e = ctx;

	(void)as_of;
	(void)bytes;
	if (id < IMAGE_ID_BASE)
		VEC_PUSH(e->mem, &e->state_in->on_disk, id);
}

/* Ids on the disk that the state does not have: both in order of id, the list newest first. */
static bool stale_find(struct engine *e, struct state_in *in)
{
	size_t kept = 0;
	uint32_t at = in->count;

	in->on_disk.count = in->remove_at = 0;
	if (e->store->ops->image_each(e->store, e, note_id) != ST_OK)
		return false;
	for (size_t i = 0; i < in->on_disk.count; i++) {
		while (at && in->items[at - 1].id < in->on_disk.at[i])
			at--;
		if (!at || in->items[at - 1].id != in->on_disk.at[i])
			in->on_disk.at[kept++] = in->on_disk.at[i];
	}
	in->on_disk.count = kept;
	return true;
}

static bool list_came(struct engine *e, struct state_in *in)
{
	struct reader r = reader_init(in->list, in->list_bytes);

	for (uint32_t i = 0; i < in->count; i++) {
		struct item *it = &in->items[i];

		it->id = get_u64(&r);
		it->changed = get_u64(&r);
		it->bytes = get_u32(&r);
		if (it->bytes < sizeof(struct atom_head) || it->bytes > STATE_IMAGE_MAX || it->changed > in->index ||
		    it->id >= IMAGE_ID_BASE || (i && it->id >= in->items[i - 1].id))
			return false;
	}
	if (in->items[in->count - 1].id != ATOM_ID_ROOT || !stale_find(e, in))
		return false;
	mem_free(e->mem, in->list, in->list_bytes);
	in->list = NULL;
	in->list_bytes = 0;
	in->phase = STATE_IMAGES;
	return true;
}

/* It goes to the disk with others; the root waits for the end. */
static bool image_came(struct engine *e, struct state_in *in)
{
	const struct item *it = &in->items[in->get_item - 1];
	const struct atom_head *h = (const struct atom_head *)(const void *)in->image;

	if (atom_image_check(in->image, it->bytes) != ST_OK || h->atom_id != it->id || h->last_index != it->changed)
		return false;
	if (it->id == ATOM_ID_ROOT)
		batch_write(e, in);
	in->next.images[in->next.count++] = (struct store_image){.id = it->id, .as_of = in->index, .image = in->image,
								 .image_bytes = it->bytes};
	in->next.bytes += it->bytes;
	in->image = NULL;
	in->taken++;
	in->taken_bytes += it->bytes;
	if (it->id != ATOM_ID_ROOT && (in->next.count == BATCH_IMAGES || in->next.bytes >= BATCH_BYTES))
		batch_write(e, in);
	return true;
}

static bool piece_came(struct engine *e, struct state_in *in, uint32_t total, const uint8_t *data, uint32_t bytes)
{
	bool list = in->get_item == 0;
	uint32_t want = list ? in->list_bytes : in->items[in->get_item - 1].bytes;
	uint32_t left = want - in->get_offset;

	if (total != want || bytes != (left < STATE_PIECE_BYTES ? left : STATE_PIECE_BYTES))
		return false;
	if (!list && !in->image)
		in->image = mem_alloc(e->mem, want);
	memcpy((list ? in->list : in->image) + in->get_offset, data, bytes);
	in->get_offset += bytes;
	in->flying_bytes -= bytes < in->flying_bytes ? bytes : in->flying_bytes;
	in->came_us = engine_now(e);
	if (in->get_offset < want)
		return true;
	in->get_offset = 0;
	if (list ? !list_came(e, in) : !image_came(e, in))
		return false;
	in->get_item++;
	return true;
}

static void attempt_failed(struct engine *e, struct state_in *in, const char *cause)
{
	log_event(e->log, LOG_ARCHIVE, LOG_WARN, "state given up", "voter=%llu cause=\"%s\" taken=%llu",
		  (unsigned long long)in->from, cause, (unsigned long long)in->taken);
	attempt_drop(e, in);
	in->voter_at++;
	in->asked_us = 0;
	e->kicked = true;
}

void state_take_message(struct engine *e, uint64_t voter, uint8_t type, struct reader *r)
{
	struct state_in *in = e->state_in;
	uint64_t id;
	uint32_t item, total, offset;

	if (!in)
		return;
	if (type == VOTER_STATE_HEAD) {
		head_came(e, in, voter, r);
		return;
	}
	id = get_u64(r);
	if (r->bad || voter != in->from || id != in->id || (in->phase != STATE_LIST && in->phase != STATE_IMAGES))
		return;
	if (type == VOTER_STATE_GONE) {
		attempt_failed(e, in, "it is not kept any more");
		return;
	}
	item = get_u32(r);
	total = get_u32(r);
	offset = get_u32(r);
	get_on(in);
	if (r->bad || item != in->get_item || offset != in->get_offset || item > in->count)
		return; /* of before it was asked for again */
	if (!piece_came(e, in, total, r->p, (uint32_t)reader_left(r)))
		attempt_failed(e, in, "damaged");
}

/* -- turns ---------------------------------------------------------------------------------------------------------------- */

static void images_turn(struct engine *e, struct state_in *in)
{
	pieces_ask(e, in);
	get_on(in);
	if (in->phase == STATE_IMAGES && in->get_item > in->count && !in->out_count && !in->quiet_count && removed_stale(e, in)) {
		in->phase = STATE_LAST;
		write_last(e, in);
	}
}

static void pieces_again(struct state_in *in)
{
	in->ask_item = in->get_item;
	in->ask_offset = in->get_offset;
	in->flying_bytes = 0;
}

static void say_end(struct engine *e, const struct state_in *in)
{
	struct buf b;

	buf_init(&b, e->mem);
	put_u8(&b, VOTER_STATE_END);
	put_u64(&b, in->id);
	send(e, &b, in->from);
	buf_fini(&b);
}

bool state_take_turn(struct engine *e)
{
	struct state_in *in = e->state_in;
	uint64_t now = engine_now(e);

	switch (in->phase) {
	case STATE_ASK:
		if (now - in->asked_us >= ASK_AGAIN_US)
			ask(e, in);
		break;
	case STATE_LIST:
	case STATE_IMAGES:
		if (in->flying_bytes && now - in->came_us > GIVE_UP_US) {
			attempt_failed(e, in, "nothing comes");
			break;
		}
		if (in->flying_bytes && now - in->came_us > PIECE_AGAIN_US && now - in->asked_us > PIECE_AGAIN_US) {
			in->asked_us = now;
			pieces_again(in);
		}
		if (!in->flying_bytes)
			in->came_us = now; /* it is the disk that takes its time */
		images_turn(e, in);
		break;
	case STATE_LAST:
		break;
	case STATE_DONE:
		say_end(e, in);
		COVER(STATE_TAKEN);
		log_event(e->log, LOG_ARCHIVE, LOG_INFO, "state taken", "index=%llu pos=%llu images=%llu bytes=%llu ms=%llu",
			  (unsigned long long)in->index, (unsigned long long)in->pos, (unsigned long long)in->taken,
			  (unsigned long long)in->taken_bytes, (unsigned long long)((now - in->began_us) / 1000));
		return true;
	}
	return false;
}

bool state_take_asks(const struct engine *e)
{
	return e->state_in && e->state_in->phase == STATE_ASK;
}
