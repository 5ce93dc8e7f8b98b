#include "catalog/record.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/env.h"
#include "base/mac.h"
#include "catalog/record_wire.h"

const char *record_kind_name(uint8_t kind)
{
	switch (kind) {
#define X(name, number, text) \
	case number:          \
		return text;
		RECORD_KINDS(X)
#undef X
	default:
		return "unknown";
	}
}

const char *remove_cause_name(uint8_t cause)
{
	static const char *const names[] = {"unknown", "left", "link lost", "silent", "replaced", "lagging"};

	return cause <= REMOVE_LAGGING ? names[cause] : names[0];
}

enum status record_name(const char *text, uint8_t name_out[RECORD_NAME_BYTES])
{
	static const char label[] = "valence name of a transaction";
	uint8_t mac[MAC_BYTES];
	enum status st = mac_make(label, sizeof label - 1, text, strlen(text), mac);

	if (!st)
		memcpy(name_out, mac, RECORD_NAME_BYTES);
	return st;
}

void record_encode(const struct record *r, struct buf *out)
{
	struct record_head h = {0};
	size_t at = out->size;

	buf_append(out, sizeof h);
	put_varint(out, r->engine);
	put_varint(out, r->seq);
	put_varint(out, r->txn);
	put_varint(out, r->attempt);
	put_varint(out, r->plan);
	put_varint(out, r->parts);
	put_varint(out, r->grantor_count);
	for (uint32_t i = 0; i < r->grantor_count; i++)
		put_varint(out, r->grantors[i]);
	put_varint(out, r->touch_count);
	for (uint32_t i = 0; i < r->touch_count; i++) {
		put_varint(out, r->touches[i].relation);
		put_varint(out, r->touches[i].storage);
	}
	if (r->named) {
		ASSERT_OP(r->kind, ==, REC_COMMIT);
		buf_put(out, r->name, sizeof r->name);
		put_varint(out, r->name_since);
	}
	h.header_bytes = (uint32_t)(out->size - at - sizeof h);
	ASSERT_OP(h.header_bytes, <=, RECORD_HEADER_MAX);
	ASSERT_OP(r->payload_bytes, <=, RECORD_PAYLOAD_MAX);
	h.payload_bytes = r->payload_bytes;
	h.payload_crc = crc32c(0, r->payload, r->payload_bytes);
	h.kind = r->kind;
	h.flags = RECORD_HAS_PAYLOAD;
	buf_put(out, r->payload, r->payload_bytes);
	memcpy(out->data + at, &h, sizeof h);
}

void batch_begin(struct buf *out, seq_index first, uint64_t wall_us, seq_index horizon, engine_id leader)
{
	struct batch_head h = {
		.magic = BATCH_MAGIC,
		.version = BATCH_VERSION,
		.first = first,
		.wall_us = wall_us,
		.horizon = horizon,
		.leader = leader,
	};

	buf_put(out, &h, sizeof h);
}

void batch_add(struct buf *out, const void *record, size_t bytes)
{
	buf_put(out, record, bytes);
}

/* Fills in sizes, the count (by walking what was added) and the checksum. */
void batch_end(struct buf *out, size_t begun_at)
{
	struct batch_head h;
	size_t at = begun_at + sizeof h;

	memcpy(&h, out->data + begun_at, sizeof h);
	while (at < out->size) {
		struct record_head rh;

		memcpy(&rh, out->data + at, sizeof rh);
		at += sizeof rh + rh.header_bytes;
		if (rh.flags & RECORD_HAS_PAYLOAD)
			at += rh.payload_bytes;
		h.count++;
	}
	ASSERT_OP(at, ==, out->size);
	h.bytes = (uint32_t)(out->size - begun_at);
	memcpy(out->data + begun_at, &h, sizeof h);
	h.crc = crc32c(0, out->data + begun_at + offsetof(struct batch_head, first),
		       h.bytes - offsetof(struct batch_head, first));
	memcpy(out->data + begun_at, &h, sizeof h);
}

static uint32_t get_varint32(struct reader *r)
{
	uint64_t v = get_varint(r);

	if (v > UINT32_MAX)
		r->bad = true;
	return (uint32_t)v;
}

static enum status header_decode(struct reader r, struct record *out)
{
	uint64_t n;

	out->engine = get_varint(&r);
	out->seq = get_varint(&r);
	out->txn = get_varint(&r);
	out->attempt = get_varint32(&r);
	out->plan = get_varint(&r);
	out->parts = get_varint32(&r);
	n = get_varint(&r);
	if (r.bad || n > RECORD_GRANTORS_MAX)
		return ST_CORRUPT;
	out->grantor_count = (uint32_t)n;
	for (uint32_t i = 0; i < n; i++)
		out->grantors[i] = get_varint(&r);
	n = get_varint(&r);
	if (r.bad || n > RECORD_TOUCHES_MAX)
		return ST_CORRUPT;
	out->touch_count = (uint32_t)n;
	for (uint32_t i = 0; i < n; i++) {
		out->touches[i].relation = get_varint(&r);
		out->touches[i].storage = get_varint(&r);
	}
	out->named = out->kind == REC_COMMIT && reader_left(&r);
	out->name_since = 0;
	if (out->named) {
		const uint8_t *name = get_raw(&r, sizeof out->name);

		if (name)
			memcpy(out->name, name, sizeof out->name);
		out->name_since = get_varint(&r);
	}
	return r.bad || reader_left(&r) ? ST_CORRUPT : ST_OK;
}

static enum status decode(struct reader *r, struct record *out, bool checked)
{
	struct record_head h;
	const uint8_t *p = get_raw(r, sizeof h);
	enum status st;

	if (!p)
		return ST_CORRUPT;
	memcpy(&h, p, sizeof h);
	if (h.header_bytes > RECORD_HEADER_MAX || h.payload_bytes > RECORD_PAYLOAD_MAX || h.zero ||
	    h.kind == 0 || h.kind > REC_KIND_MAX || h.flags > RECORD_HAS_PAYLOAD)
		return ST_CORRUPT;
	p = get_raw(r, h.header_bytes);
	if (!p)
		return ST_CORRUPT;
	out->index = 0;
	out->kind = h.kind;
	st = header_decode(reader_init(p, h.header_bytes), out);
	if (st)
		return st;
	out->payload = NULL;
	out->payload_bytes = h.payload_bytes;
	out->payload_crc = h.payload_crc;
	if (h.flags & RECORD_HAS_PAYLOAD) {
		out->payload = get_raw(r, h.payload_bytes);
		if (!out->payload || (checked && crc32c(0, out->payload, h.payload_bytes) != h.payload_crc))
			return ST_CORRUPT;
	}
	return ST_OK;
}

enum status record_decode(struct reader *r, struct record *out)
{
	return decode(r, out, true);
}

enum status batch_decode(const void *data, size_t bytes, struct batch *out)
{
	struct batch_head h;

	if (bytes < sizeof h)
		return ST_CORRUPT;
	memcpy(&h, data, sizeof h);
	if (h.magic != BATCH_MAGIC || h.version < BATCH_VERSION_OLDEST || h.version > BATCH_VERSION || h.bytes != bytes || h.zero[0] || h.zero[1] ||
	    h.zero[2] || h.zero2)
		return ST_CORRUPT;
	if (h.crc != crc32c(0, (const uint8_t *)data + offsetof(struct batch_head, first),
			    bytes - offsetof(struct batch_head, first)))
		return ST_CORRUPT;
	out->first = h.first;
	out->count = h.count;
	out->wall_us = h.wall_us;
	out->horizon = h.horizon;
	out->leader = h.leader;
	out->records = (const uint8_t *)data + sizeof h;
	out->records_bytes = bytes - sizeof h;
	return ST_OK;
}

static enum status next(const struct batch *b, struct batch_iter *it, struct record *out, bool checked)
{
	struct reader r = reader_init(b->records + it->offset, b->records_bytes - it->offset);
	enum status st;

	if (it->n == b->count)
		return reader_left(&r) ? ST_CORRUPT : ST_END;
	st = decode(&r, out, checked);
	if (st)
		return st;
	out->index = b->first + it->n;
	it->n++;
	it->offset = (size_t)(r.p - b->records);
	return ST_OK;
}

enum status batch_next(const struct batch *b, struct batch_iter *it, struct record *out)
{
	return next(b, it, out, true);
}

enum status batch_next_header(const struct batch *b, struct batch_iter *it, struct record *out)
{
	return next(b, it, out, false);
}

/* -- leaving out payloads ------------------------------------------------------------------------ */

bool record_is_local(const struct record *r)
{
	if ((r->kind != REC_COMMIT && r->kind != REC_PART) || !r->touch_count)
		return false;
	for (uint32_t i = 0; i < r->touch_count; i++)
		if (!r->touches[i].storage)
			return false;
	return true;
}

bool record_prunable(const struct record *r)
{
	return r->payload_bytes > RECORD_PRUNE_BYTES && record_is_local(r);
}

uint32_t batch_prunable(const struct batch *b)
{
	uint32_t count = 0;
	size_t at = 0;

	while (b->records_bytes - at >= sizeof(struct record_head)) {
		struct record_head h;

		memcpy(&h, b->records + at, sizeof h);
		at += sizeof h;
		if (h.header_bytes > b->records_bytes - at)
			break; /* damaged: whoever decodes it finds out */
		at += h.header_bytes;
		if (!(h.flags & RECORD_HAS_PAYLOAD))
			continue;
		if (h.payload_bytes > b->records_bytes - at)
			break;
		at += h.payload_bytes;
		count += (h.kind == REC_COMMIT || h.kind == REC_PART) && h.payload_bytes > RECORD_PRUNE_BYTES;
	}
	return count;
}

void batch_add_as(struct buf *out, const struct batch *b, const struct batch_iter *before, const struct record *r,
		  const uint8_t *payload)
{
	const uint8_t *from = b->records + before->offset;
	struct record_head h;

	memcpy(&h, from, sizeof h);
	h.flags = payload ? RECORD_HAS_PAYLOAD : 0;
	buf_put(out, &h, sizeof h);
	buf_put(out, from + sizeof h, h.header_bytes);
	if (payload)
		buf_put(out, payload, r->payload_bytes);
}

/* -- operations ---------------------------------------------------------------------------------- */

#define CELL_NULL 0x80

static void cell_encode(struct buf *out, const struct cell *c)
{
	put_varint(out, c->attno);
	put_u8(out, c->phys | (c->null ? CELL_NULL : 0));
	if (c->null)
		return;
	switch (c->phys) {
	case PHYS_BOOL:
		put_u8(out, c->i != 0);
		break;
	case PHYS_I16:
	case PHYS_I32:
	case PHYS_I64:
		put_varint(out, (uint64_t)c->i << 1 ^ (uint64_t)(c->i >> 63));
		break;
	case PHYS_F64:
		buf_put(out, &c->f, 8);
		break;
	case PHYS_I128:
		buf_put(out, &c->x, 16);
		break;
	case PHYS_VAR:
		put_bytes(out, c->var, c->bytes);
		break;
	default:
		UNREACHABLE();
	}
}

static void cell_decode(struct reader *r, struct cell *c)
{
	uint64_t attno = get_varint(r), v;
	uint8_t phys = get_u8(r);
	const uint8_t *p;
	size_t n;

	memset(c, 0, sizeof *c);
	c->null = phys & CELL_NULL;
	c->phys = phys & ~CELL_NULL;
	c->attno = (uint16_t)attno;
	if (attno == 0 || attno > UINT16_MAX || c->phys == 0 || c->phys >= PHYS_COUNT)
		r->bad = true;
	if (r->bad || c->null)
		return;
	switch (c->phys) {
	case PHYS_BOOL:
		c->i = get_u8(r);
		if (c->i > 1)
			r->bad = true;
		break;
	case PHYS_I16:
	case PHYS_I32:
	case PHYS_I64:
		v = get_varint(r);
		c->i = (int64_t)(v >> 1 ^ -(v & 1));
		if ((c->phys == PHYS_I16 && c->i != (int16_t)c->i) || (c->phys == PHYS_I32 && c->i != (int32_t)c->i))
			r->bad = true;
		break;
	case PHYS_F64:
		p = get_raw(r, 8);
		if (p)
			memcpy(&c->f, p, 8);
		break;
	case PHYS_I128:
		p = get_raw(r, 16);
		if (p)
			memcpy(&c->x, p, 16);
		break;
	default:
		c->var = get_bytes(r, &n);
		c->bytes = (uint32_t)n;
		break;
	}
}

void op_encode_row(struct buf *out, enum op_kind kind, rel_id storage, row_id row, const struct cell *cells,
		   uint32_t cell_count)
{
	put_u8(out, (uint8_t)kind);
	put_varint(out, storage);
	put_varint(out, row);
	if (kind == OP_ROW_DELETE)
		return;
	put_varint(out, cell_count);
	for (uint32_t i = 0; i < cell_count; i++)
		cell_encode(out, &cells[i]);
}

void op_encode_key(struct buf *out, enum op_kind kind, rel_id storage, row_id row, const void *key,
		   uint32_t key_len)
{
	put_u8(out, (uint8_t)kind);
	put_varint(out, storage);
	put_varint(out, row);
	put_bytes(out, key, key_len);
}

void op_encode_catalog(struct buf *out, enum op_kind kind, enum atom_kind catalog, const void *key,
		       uint32_t key_len, const void *value, uint32_t value_len)
{
	put_u8(out, (uint8_t)kind);
	put_varint(out, (uint64_t)catalog);
	put_bytes(out, key, key_len);
	if (kind == OP_CATALOG_PUT)
		put_bytes(out, value, value_len);
}

void op_encode_new_atom(struct buf *out, rel_id storage, enum atom_kind kind, const void *value,
			uint32_t value_len)
{
	put_u8(out, OP_NEW_ATOM);
	put_varint(out, storage);
	put_u8(out, (uint8_t)kind);
	put_bytes(out, value, value_len);
}

void op_encode_destroy(struct buf *out, rel_id storage)
{
	put_u8(out, OP_DESTROY);
	put_varint(out, storage);
}

void op_reader_init(struct op_reader *o, struct mem *mem)
{
	memset(o, 0, sizeof *o);
	o->mem = mem;
}

void op_reader_fini(struct op_reader *o)
{
	mem_free(o->mem, o->cells, o->cell_cap * sizeof *o->cells);
}

void op_reader_start(struct op_reader *o, const void *payload, size_t bytes)
{
	o->r = reader_init(payload, bytes);
}

static struct slice get_slice(struct reader *r, uint32_t max)
{
	size_t n;
	const uint8_t *p = get_bytes(r, &n);

	if (n > max)
		r->bad = true;
	return (struct slice){p, (uint32_t)n, 0};
}

static void cells_decode(struct op_reader *o, struct op *out)
{
	uint64_t n = get_varint(&o->r);

	if (n > reader_left(&o->r)) { /* a cell takes more than a byte */
		o->r.bad = true;
		return;
	}
	if (n > o->cell_cap) {
		o->cells = mem_realloc(o->mem, o->cells, o->cell_cap * sizeof *o->cells, n * sizeof *o->cells);
		o->cell_cap = (uint32_t)n;
	}
	out->cells = o->cells;
	out->cell_count = (uint32_t)n;
	for (uint32_t i = 0; i < n && !o->r.bad; i++)
		cell_decode(&o->r, &o->cells[i]);
}

enum status op_next(struct op_reader *o, struct op *out)
{
	struct reader *r = &o->r;

	if (!r->bad && reader_left(r) == 0)
		return ST_END;
	memset(out, 0, sizeof *out);
	out->kind = get_u8(r);
	out->relation = get_varint(r);
	switch (out->kind) {
	case OP_ROW_INSERT:
	case OP_ROW_UPDATE:
		out->row = get_varint(r);
		cells_decode(o, out);
		break;
	case OP_ROW_DELETE:
		out->row = get_varint(r);
		break;
	case OP_KEY_ADD:
	case OP_KEY_REMOVE:
		out->row = get_varint(r);
		out->key = get_slice(r, LEAF_KEY_MAX);
		break;
	case OP_CATALOG_PUT:
		out->key = get_slice(r, LEAF_KEY_MAX);
		out->value = get_slice(r, LEAF_VALUE_MAX);
		break;
	case OP_CATALOG_REMOVE:
		out->key = get_slice(r, LEAF_KEY_MAX);
		break;
	case OP_NEW_ATOM:
		out->atom_kind = get_u8(r);
		out->value = get_slice(r, LEAF_VALUE_MAX);
		if (out->atom_kind != ATOM_INDEX && out->atom_kind != ATOM_SEQUENCE)
			r->bad = true;
		break;
	case OP_DESTROY:
		break;
	default:
		r->bad = true;
	}
	return r->bad ? ST_CORRUPT : ST_OK;
}

/* Most operations are on the storage of the last one: *at. */
static bool op_touched(const struct record *r, const struct op *op, uint32_t *at)
{
	if (op->kind < OP_ROW_INSERT || op->kind > OP_KEY_REMOVE)
		return false;
	for (uint32_t i = 0; i < r->touch_count; i++, *at = (*at + 1) % r->touch_count)
		if (r->touches[*at].storage == op->relation)
			return true;
	return false;
}

bool record_ops_ok(const struct record *r, struct mem *mem)
{
	bool local = record_is_local(r);
	uint32_t at = 0;
	struct op_reader ops;
	struct op op;
	enum status st = ST_OK;

	if (!r->payload && r->payload_bytes)
		return false;
	op_reader_init(&ops, mem);
	op_reader_start(&ops, r->payload, r->payload_bytes);
	while (st == ST_OK) {
		st = op_next(&ops, &op);
		if (st == ST_OK && local && !op_touched(r, &op, &at))
			st = ST_CORRUPT;
	}
	op_reader_fini(&ops);
	return st == ST_END;
}

/* -- other payloads ------------------------------------------------------------------------------ */

void create_encode(struct buf *out, const struct create_payload *c)
{
	put_varint(out, c->storage);
	put_u8(out, c->kind);
	put_varint(out, c->count);
	put_varint(out, c->rows);
	for (uint32_t i = 0; c->kind == ATOM_INDEX && i < c->count; i++)
		put_bytes(out, c->fences[i].p, c->fences[i].bytes);
}

static int slice_compare(struct slice a, struct slice b)
{
	uint32_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

enum status create_decode(const struct record *rec, struct create_payload *out,
			  struct slice fences[CREATE_ATOMS_MAX])
{
	struct reader r = reader_init(rec->payload, rec->payload_bytes);
	uint64_t count, rows;

	out->storage = get_varint(&r);
	out->kind = get_u8(&r);
	count = get_varint(&r);
	rows = get_varint(&r);
	if (r.bad || count == 0 || count > CREATE_ATOMS_MAX || rows > ATOM_ROWS_MAX ||
	    (out->kind != ATOM_DATA && out->kind != ATOM_INDEX) || (out->kind == ATOM_DATA && rows == 0))
		return ST_CORRUPT;
	out->count = (uint32_t)count;
	out->rows = (uint32_t)rows;
	out->fences = fences;
	for (uint32_t i = 0; out->kind == ATOM_INDEX && i < count && !r.bad; i++) {
		fences[i] = get_slice(&r, INDEX_FENCE_MAX);
		/* the first from the start on, then rising: each leaf ends where the next begins */
		if (i ? slice_compare(fences[i - 1], fences[i]) >= 0 : fences[i].bytes > 0)
			r.bad = true;
	}
	return r.bad || reader_left(&r) ? ST_CORRUPT : ST_OK;
}

void split_encode(struct buf *out, const struct split_payload *s)
{
	put_u64(out, s->atom);
	put_u64(out, s->epoch);
	put_u8(out, s->kind);
	put_u64(out, s->owner);
	put_u64(out, s->at_row);
	put_bytes(out, s->at_key.p, s->at_key.bytes);
}

enum status split_decode(const struct record *rec, struct split_payload *out)
{
	struct reader r = reader_init(rec->payload, rec->payload_bytes);

	out->atom = get_u64(&r);
	out->epoch = get_u64(&r);
	out->kind = get_u8(&r);
	out->owner = get_u64(&r);
	out->at_row = get_u64(&r);
	if (out->kind == ATOM_DATA)
		out->at_key = get_slice(&r, 0);
	else if (out->kind == ATOM_INDEX)
		out->at_key = get_slice(&r, INDEX_FENCE_MAX);
	else if (out->kind >= ATOM_SCHEMA_CAT && out->kind <= ATOM_INDEX_CAT && out->kind != ATOM_DATA_CAT)
		out->at_key = get_slice(&r, CATALOG_FENCE_MAX);
	else
		r.bad = true;
	if (out->kind != ATOM_DATA && !out->at_key.bytes)
		r.bad = true;
	return r.bad || reader_left(&r) ? ST_CORRUPT : ST_OK;
}

void atoms_encode(struct buf *out, const struct atom_epoch *atoms, uint32_t count, engine_id target)
{
	ASSERT_OP(count, <=, RECORD_ATOMS_MAX);
	put_u64(out, target);
	put_u32(out, count);
	buf_put(out, atoms, count * sizeof *atoms);
}

enum status atoms_decode(const struct record *rec, struct atoms_payload *out)
{
	struct reader r = reader_init(rec->payload, rec->payload_bytes);

	out->target = get_u64(&r);
	out->count = get_u32(&r);
	if (r.bad || out->count > RECORD_ATOMS_MAX)
		return ST_CORRUPT;
	out->list = get_raw(&r, out->count * sizeof(struct atom_epoch));
	return r.bad || reader_left(&r) ? ST_CORRUPT : ST_OK;
}

void reserve_encode(struct buf *out, const struct reserve_payload *p)
{
	put_u64(out, p->sequence);
	put_u64(out, p->atom);
	put_u8(out, p->set);
	buf_put(out, &p->from, sizeof p->from);
	buf_put(out, &p->to, sizeof p->to);
}

enum status reserve_decode(const struct record *rec, struct reserve_payload *out)
{
	struct reader r = reader_init(rec->payload, rec->payload_bytes);
	const uint8_t *p;

	out->sequence = get_u64(&r);
	out->atom = get_u64(&r);
	out->set = get_u8(&r) != 0;
	p = get_raw(&r, 2 * sizeof out->from);
	if (!p || reader_left(&r))
		return ST_CORRUPT;
	memcpy(&out->from, p, sizeof out->from);
	memcpy(&out->to, p + sizeof out->from, sizeof out->to);
	return ST_OK;
}

void intent_encode(struct buf *out, const struct intent_payload *p)
{
	put_u64(out, p->relation);
	put_u8(out, p->mode);
}

enum status intent_decode(const struct record *rec, struct intent_payload *out)
{
	struct reader r = reader_init(rec->payload, rec->payload_bytes);

	out->relation = get_u64(&r);
	out->mode = get_u8(&r);
	return r.bad || reader_left(&r) ? ST_CORRUPT : ST_OK;
}

void join_encode(struct buf *out, const struct join_payload *p)
{
	put_u64(out, p->nonce);
	put_u64(out, p->voter_id);
	put_u64(out, p->log_id);
	put_u8(out, p->kind);
	put_str(out, p->name);
	put_str(out, p->address);
	put_str(out, p->sql_address);
	put_str(out, p->location);
}

static void get_string(struct reader *r, char *out, size_t cap)
{
	size_t n;
	const uint8_t *p = get_bytes(r, &n);

	memset(out, 0, cap);
	if (!p || n >= cap || memchr(p, 0, n)) {
		r->bad = true;
		return;
	}
	memcpy(out, p, n);
}

enum status join_decode(const void *payload, size_t bytes, struct join_payload *out)
{
	struct reader r = reader_init(payload, bytes);

	out->nonce = get_u64(&r);
	out->voter_id = get_u64(&r);
	out->log_id = get_u64(&r);
	out->kind = get_u8(&r);
	get_string(&r, out->name, sizeof out->name);
	get_string(&r, out->address, sizeof out->address);
	get_string(&r, out->sql_address, sizeof out->sql_address);
	get_string(&r, out->location, sizeof out->location);
	if (r.bad || reader_left(&r) || (out->kind != ENGINE_CACHE && out->kind != ENGINE_ARCHIVE))
		return ST_CORRUPT;
	return ST_OK;
}

void remove_encode(struct buf *out, const struct remove_payload *p)
{
	put_u64(out, p->engine);
	put_u8(out, p->cause);
}

enum status remove_decode(const struct record *rec, struct remove_payload *out)
{
	struct reader r = reader_init(rec->payload, rec->payload_bytes);

	out->engine = get_u64(&r);
	out->cause = get_u8(&r);
	return r.bad || reader_left(&r) ? ST_CORRUPT : ST_OK;
}
