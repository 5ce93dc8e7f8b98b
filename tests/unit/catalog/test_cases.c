/*
 * test_cases.c - single situations of the replica that a random log meets rarely.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "../unit.h"
#include "base/assert.h"
#include "catalog/replica_int.h"

static struct mem account;
static struct replica *a, *cache;
static uint64_t seqs[10];
static seq_index last;
static bool oversize_seen;
static enum verdict verdicts[60000];
static struct record rec;

static int setup(void)
{
	mem_init(&account, NULL, "test", 0);
	return 0;
}

static int teardown(void)
{
	return account.used_bytes != 0;
}

static void on_applied(void *ctx, const struct record *r, enum verdict v, enum void_cause c)
{
	(void)ctx, (void)r, (void)v, (void)c;
}
static void on_member(void *ctx, const struct member *m)
{
	(void)ctx, (void)m;
}
static void on_left(void *ctx, const struct member *m, uint8_t cause)
{
	(void)ctx, (void)m, (void)cause;
}
static void on_intent(void *ctx, const struct intent *in)
{
	(void)ctx, (void)in;
}
static void on_schema(void *ctx)
{
	(void)ctx;
}
static void on_changed(void *ctx, struct frame *f, bool oversize)
{
	(void)ctx;
	oversize_seen = oversize_seen || (oversize && f->kind == ATOM_DATA_CAT);
}
static void on_new(void *ctx, struct frame *f, atom_id from)
{
	(void)ctx, (void)f, (void)from;
}
static void on_gone(void *ctx, struct frame *f)
{
	(void)ctx, (void)f;
}
static void on_hold(void *ctx, atom_id atom)
{
	(void)ctx, (void)atom;
}
static void on_audit(void *ctx, const struct record *r)
{
	(void)ctx, (void)r;
}
static const struct replica_events events = {on_applied, on_member, on_left, on_intent, on_intent, on_schema,
					     on_changed, on_new, on_gone, on_hold, on_audit};

static struct replica *replica_make(bool archive)
{
	struct replica_config cfg = {.mem = &account, .events = &events, .undo_limit_bytes = 1u << 20, .archive = archive};

	return replica_new(&cfg);
}

/* The record as the log gives it: payload in memory of its own, next index. */
static struct record *next(enum record_kind kind, engine_id engine, txn_id txn, struct buf *payload)
{
	memset(&rec, 0, sizeof rec);
	rec.index = ++last;
	rec.kind = (uint8_t)kind;
	rec.engine = engine;
	rec.seq = engine ? ++seqs[engine] : 0;
	rec.txn = txn;
	rec.attempt = 1;
	rec.plan = last - 1;
	rec.payload = payload->data;
	rec.payload_bytes = (uint32_t)payload->size;
	return &rec;
}

static enum verdict apply(struct replica *rp, const struct record *r)
{
	int64_t budget = 1 << 30;
	enum verdict v = 0;

	ASSERT(!replica_missing_parts(rp, r, NULL));
	ASSERT(replica_apply(rp, r, &budget, &v));
	verdicts[r->index] = v;
	return v;
}

static void join(uint8_t kind)
{
	struct join_payload j = {.nonce = last + 1, .kind = kind};
	struct buf b;

	buf_init(&b, &account);
	join_encode(&b, &j);
	CU_ASSERT_EQUAL(apply(a, next(REC_JOIN, 0, 0, &b)), VERDICT_OK);
	buf_fini(&b);
}

/* An archive with members 1 (archive) and 2 (cache). */
static void open_all(void)
{
	memset(seqs, 0, sizeof seqs);
	last = 0;
	oversize_seen = false;
	a = replica_make(true);
	replica_genesis(a);
	join(ENGINE_ARCHIVE);
	join(ENGINE_CACHE);
}

static void create(engine_id by, rel_id storage, uint32_t rows)
{
	struct create_payload c = {.storage = storage, .kind = ATOM_DATA, .count = 1, .rows = rows};
	struct buf b;

	buf_init(&b, &account);
	create_encode(&b, &c);
	CU_ASSERT_EQUAL(apply(a, next(REC_CREATE, by, 0, &b)), VERDICT_OK);
	buf_fini(&b);
}

static void row_op(struct buf *b, rel_id storage, row_id row)
{
	struct cell c = {.attno = 1, .phys = PHYS_I64, .i = (int64_t)row};

	op_encode_row(b, OP_ROW_INSERT, storage, row, &c, 1);
}

/* A commit whose sender was removed before it is void everywhere, and its parts are gone: nobody waits for them. */
static void test_cases_parts_of_the_removed(void)
{
	struct remove_payload rem = {.engine = 2, .cause = REMOVE_LINK};
	struct buf b, none;

	open_all();
	buf_init(&b, &account);
	buf_init(&none, &account);
	create(2, 50, 10);
	row_op(&b, 50, 1);
	CU_ASSERT_EQUAL(apply(a, next(REC_PART, 2, 7, &b)), VERDICT_OK);
	CU_ASSERT_EQUAL(replica_oldest_part(a), last);
	buf_reset(&b);
	remove_encode(&b, &rem);
	CU_ASSERT_EQUAL(apply(a, next(REC_REMOVE, 0, 0, &b)), VERDICT_OK);
	CU_ASSERT_EQUAL(replica_oldest_part(a), UINT64_MAX);
	next(REC_COMMIT, 2, 7, &none)->parts = 1;
	CU_ASSERT(!replica_missing_parts(a, &rec, NULL));
	CU_ASSERT_EQUAL(apply(a, &rec), VERDICT_VOID);
	buf_fini(&b);
	buf_fini(&none);
	replica_free(a);
}

/* Parts of an applied commit are kept for replay, also when its record comes again after its sender has left. */
static void test_cases_parts_kept(void)
{
	struct remove_payload rem = {.engine = 2, .cause = REMOVE_LINK};
	static struct record commit;
	struct buf b, none;

	open_all();
	buf_init(&b, &account);
	buf_init(&none, &account);
	create(1, 50, 10);
	row_op(&b, 50, 1);
	(void)apply(a, next(REC_PART, 2, 7, &b));
	next(REC_COMMIT, 2, 7, &none)->parts = 1;
	commit = rec;
	CU_ASSERT_EQUAL(apply(a, &commit), VERDICT_OK);
	buf_reset(&b);
	remove_encode(&b, &rem);
	(void)apply(a, next(REC_REMOVE, 0, 0, &b));
	next(REC_COMMIT, 2, 7, &none)->parts = 1;
	CU_ASSERT_EQUAL(apply(a, &rec), VERDICT_VOID);
	CU_ASSERT(!replica_missing_parts(a, &commit, NULL));
	replica_forget_parts(a, commit.index);
	CU_ASSERT(replica_missing_parts(a, &commit, NULL)); /* now they are gone, and that is said */
	buf_fini(&b);
	buf_fini(&none);
	replica_free(a);
}

static struct frame *copy_give(struct replica *to, atom_id id, seq_index as_of, const struct atom_head *image, size_t bytes)
{
	struct frame *f = NULL;

	ASSERT(atom_find(replica_store(to), id) == NULL);
	CU_ASSERT_EQUAL(replica_install(to, image, bytes, NULL, 0, as_of, &f), ST_OK);
	return f;
}

static void cache_open(void)
{
	size_t bytes;
	const struct atom_head *root = frame_image_ref(a->root, &bytes);

	cache = replica_make(false);
	CU_ASSERT_EQUAL(replica_install_root(cache, root, bytes, last), ST_OK);
	atom_image_unref(replica_store(a), root);
	replica_set_self(cache, 2);
	for (atom_id id = ATOM_SCHEMA_CAT; id <= ATOM_INDEX_CAT; id++) {
		const struct atom_head *image = frame_image_ref(atom_find(replica_store(a), id), &bytes);

		(void)copy_give(cache, id, last, image, bytes);
		atom_image_unref(replica_store(a), image);
	}
}

static void split_encode_at(struct buf *b, atom_id atom, seq_index epoch, rel_id storage, row_id at)
{
	struct split_payload s = {.atom = atom, .epoch = epoch, .kind = ATOM_DATA, .owner = storage, .at_row = at};

	buf_reset(b);
	split_encode(b, &s);
}

/* A copy that is replayed over its split keeps its half only: what came after for the other half would not reach it. */
static void test_cases_replay_split(void)
{
	static struct record log[3];
	const struct atom_head *image;
	struct buf split, row;
	size_t bytes;
	atom_id atom;
	struct frame *f;

	open_all();
	buf_init(&split, &account);
	buf_init(&row, &account);
	create(1, 50, 10);
	atom = atom_id_make(last, 0);
	cache_open();
	image = frame_image_ref(atom_find(replica_store(a), atom), &bytes); /* before all that follows */
	split_encode_at(&split, atom, last, 50, 5);
	log[0] = *next(REC_SPLIT, 1, 0, &split);
	row_op(&row, 50, 2);
	row_op(&row, 50, 7);
	CU_ASSERT(apply(a, &log[0]) == VERDICT_OK && apply(cache, &log[0]) == VERDICT_OK);
	log[1] = *next(REC_COMMIT, 1, 1, &row);
	CU_ASSERT(apply(a, &log[1]) == VERDICT_OK && apply(cache, &log[1]) == VERDICT_OK);
	f = copy_give(cache, atom, last - 2, image, bytes);
	atom_image_unref(replica_store(a), image);
	replica_replay(cache, &log[0], VERDICT_OK, f);
	replica_replay(cache, &log[1], VERDICT_OK, f);
	CU_ASSERT_EQUAL(frame_body_crc(f), frame_body_crc(atom_find(replica_store(a), atom)));
	CU_ASSERT_PTR_NULL(atom_find(replica_store(cache), atom_id_make(log[0].index, 0)));
	CU_ASSERT_PTR_NULL(atom_find(replica_store(cache), ATOM_ID_SCRATCH));
	buf_fini(&split);
	buf_fini(&row);
	replica_free(cache);
	replica_free(a);
}

/* While a record is applied in part, no copy is installed: it would miss what is done already. */
static void test_cases_paused(void)
{
	const struct atom_head *image;
	struct frame *f = NULL;
	enum verdict v;
	int64_t budget;
	size_t bytes;
	atom_id atom;
	struct buf b;

	open_all();
	buf_init(&b, &account);
	create(1, 50, 10);
	atom = atom_id_make(last, 0);
	cache_open();
	image = frame_image_ref(atom_find(replica_store(a), atom), &bytes);
	for (row_id row = 1; row < 6; row++)
		row_op(&b, 50, row);
	next(REC_COMMIT, 1, 1, &b);
	budget = 3;
	CU_ASSERT(!replica_apply(cache, &rec, &budget, &v) && replica_paused(cache));
	CU_ASSERT_EQUAL(replica_applied(cache), last - 1);
	CU_ASSERT_EQUAL(replica_install(cache, image, bytes, NULL, 0, last - 1, &f), ST_AGAIN);
	budget = 100;
	CU_ASSERT(replica_apply(cache, &rec, &budget, &v) && !replica_paused(cache));
	(void)apply(a, &rec);
	f = copy_give(cache, atom, last - 1, image, bytes);
	replica_replay(cache, &rec, VERDICT_OK, f);
	CU_ASSERT_EQUAL(frame_body_crc(f), frame_body_crc(atom_find(replica_store(a), atom)));
	atom_image_unref(replica_store(a), image);
	buf_fini(&b);
	replica_free(cache);
	replica_free(a);
}

/*
 * A record leaf is split where an entry begins, so that an atom in front of that place can still be split anywhere: the
 * shortest key between two entries would part the row from its atom's entry.
 */
static void test_cases_split_key(void)
{
	uint8_t key[LEAF_KEY_MAX], entry[16];
	struct frame *leaf;
	struct slice v;
	struct buf b;
	uint32_t len;
	struct route r;
	atom_id need;

	open_all();
	buf_init(&b, &account);
	for (int i = 0; i < 1500; i++)
		create(1, 50, 300); /* odd places: the middle of a byte */
	leaf = atom_find(replica_store(a), ATOM_RECORD_CAT);
	CU_ASSERT_EQUAL_FATAL(replica_split_key(a, leaf, key, &len), ST_OK);
	CU_ASSERT_EQUAL_FATAL(len, 16);
	CU_ASSERT_EQUAL(leaf_get(replica_store(a), leaf, LEAF_NEWEST, key, len, &v), ST_OK);
	CU_ASSERT(replica_split_key(a, atom_find(replica_store(a), ATOM_DATA_CAT), entry, &len) == ST_END);
	len = 16;
	{
		struct split_payload s = {.atom = ATOM_RECORD_CAT, .kind = ATOM_RECORD_CAT, .at_key = {key, len, 0}};

		split_encode(&b, &s);
		CU_ASSERT_EQUAL(apply(a, next(REC_SPLIT, 1, 0, &b)), VERDICT_OK);
	}
	for (int side = 0; side < 2; side++) { /* the last row in front of the fence, and the second behind it */
		row_id at = from_be64(key + 8) + (side ? 1 : UINT64_MAX);

		CU_ASSERT_EQUAL_FATAL(replica_route_row(a, 50, at, &r, &need), ST_OK);
		split_encode_at(&b, r.atom, r.epoch, 50, at);
		CU_ASSERT_EQUAL(apply(a, next(REC_SPLIT, 1, 0, &b)), VERDICT_OK);
		CU_ASSERT(replica_route_row(a, 50, at, &r, &need) == ST_OK && r.lo == at && r.atom == atom_id_make(last, 0));
	}
	buf_fini(&b);
	replica_free(a);
}

/* The data catalog grows beyond what other leaves are split at, and nobody is asked to split it; such a split is void. */
static void test_cases_data_catalog(void)
{
	struct split_payload s = {.atom = ATOM_DATA_CAT, .kind = ATOM_DATA_CAT, .at_key = {(const uint8_t *)"\0\1", 2, 0}};
	struct buf b;

	open_all();
	for (int i = 0; i < 12000; i++)
		create(2, 50, 2);
	CU_ASSERT(frame_bytes(atom_find(replica_store(a), ATOM_DATA_CAT)) > ATOM_SPLIT_BYTES);
	CU_ASSERT(!oversize_seen);
	buf_init(&b, &account);
	split_encode(&b, &s);
	CU_ASSERT_EQUAL(apply(a, next(REC_SPLIT, 1, 0, &b)), VERDICT_VOID);
	buf_fini(&b);
	replica_free(a);
}

static enum status root_try(const char *key, uint32_t key_len, const void *value, uint32_t value_len)
{
	struct atom_store *st = atom_store_new(&account, 1 << 20);
	size_t bytes;
	const struct atom_head *image = frame_image_ref(a->root, &bytes);
	struct frame *f;
	enum status s;

	CU_ASSERT_EQUAL(atom_install(st, image, bytes, NULL, 0, last, &f), ST_OK);
	atom_image_unref(replica_store(a), image);
	if (value)
		leaf_put(st, f, last, key, key_len, value, value_len);
	else if (key)
		leaf_remove(st, f, last, key, key_len);
	image = frame_image_ref(f, &bytes);
	cache = replica_make(false);
	s = replica_install_root(cache, image, bytes, last);
	CU_ASSERT((s == ST_OK) == (replica_member_count(cache) == 2)); /* or nothing of it is there */
	CU_ASSERT(s == ST_OK || !atom_find(replica_store(cache), ATOM_ID_ROOT));
	replica_free(cache);
	atom_image_unref(st, image);
	atom_store_free(st);
	return s;
}

/* A root image from a peer that is a sound leaf but no root is refused, and leaves nothing behind. */
static void test_cases_bad_root(void)
{
	uint8_t long_value[300] = {0};

	open_all();
	CU_ASSERT_EQUAL(root_try(NULL, 0, NULL, 0), ST_OK);
	CU_ASSERT_EQUAL(root_try("C\2", 2, NULL, 0), ST_CORRUPT);                   /* a catalog without its first leaf */
	CU_ASSERT_EQUAL(root_try("C\2x", 3, "short", 5), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("C\77x", 3, long_value, 20), ST_CORRUPT);          /* no such catalog */
	CU_ASSERT_EQUAL(root_try("C", 1, long_value, 20), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("M\0\0\0\0\0\0\0\11", 9, long_value, 100), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("M", 1, long_value, 100), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("I\0\0\0\0\0\0\0\11", 9, long_value, 24), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("B\0\0\0\0\0\0\0\11", 9, long_value, 7), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("T\0\0\0\0\0\0\0\11", 9, long_value, 8), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("T123456789abcdef0", 17, long_value, 7), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("T123456789abcdef0", 17, long_value, 8), ST_OK);
	CU_ASSERT_EQUAL(root_try("Z\0\0\0\0\0\0\0\11", 9, long_value, 8), ST_CORRUPT);
	CU_ASSERT_EQUAL(root_try("B\0\0\0\0\0\0\0\11", 9, long_value, 8), ST_OK);
	replica_free(a);
}

/* A commit under a name; NULL: none. */
static enum verdict commit_as(struct replica *rp, engine_id by, const char *name, seq_index since, rel_id storage, row_id row)
{
	enum verdict v;
	struct buf b;

	buf_init(&b, &account);
	if (row)
		row_op(&b, storage, row);
	next(REC_COMMIT, by, last, &b);
	if (name) {
		rec.named = true;
		rec.name_since = since;
		CU_ASSERT_EQUAL(record_name(name, rec.name), ST_OK);
	}
	v = apply(rp, &rec);
	if (rp == a && cache)
		CU_ASSERT_EQUAL(apply(cache, &rec), v);
	buf_fini(&b);
	return v;
}

static seq_index index_of(const struct replica *rp, const char *name)
{
	uint8_t id[RECORD_NAME_BYTES];

	CU_ASSERT_EQUAL(record_name(name, id), ST_OK);
	return replica_named(rp, id);
}

static bool roots_equal(struct replica *x, struct replica *y)
{
	size_t bx, by;
	const struct atom_head *ix = frame_image_ref(x->root, &bx), *iy = frame_image_ref(y->root, &by);
	bool equal = bx == by && !memcmp(ix, iy, bx);

	atom_image_unref(replica_store(x), ix);
	atom_image_unref(replica_store(y), iy);
	return equal;
}

/* The first commit under a name has its effect, any other has none, whoever sends it; one that wrote nothing takes its name too. */
static void test_cases_names(void)
{
	seq_index first;

	open_all();
	cache = NULL;
	create(1, 50, 10);
	CU_ASSERT_EQUAL(commit_as(a, 1, "one", 0, 50, 1), VERDICT_OK);
	first = last;
	CU_ASSERT_EQUAL(index_of(a, "one"), first);
	CU_ASSERT_EQUAL(index_of(a, "two"), 0);
	CU_ASSERT_EQUAL(commit_as(a, 2, "one", 0, 50, 2), VERDICT_VOID);
	CU_ASSERT_EQUAL(commit_as(a, 1, "one", 0, 50, 3), VERDICT_VOID);
	CU_ASSERT_EQUAL(index_of(a, "one"), first);
	CU_ASSERT_EQUAL(commit_as(a, 2, "two", 0, 50, 0), VERDICT_OK);
	CU_ASSERT_EQUAL(commit_as(a, 1, "two", 0, 50, 4), VERDICT_VOID);
	CU_ASSERT_EQUAL(commit_as(a, 1, NULL, 0, 50, 5), VERDICT_OK);
	CU_ASSERT_EQUAL(replica_names_count(a), 2);
	/* a void attempt takes no name: another one may succeed */
	next(REC_COMMIT, 1, last, &(struct buf){0})->plan = 0;
	rec.named = true;
	CU_ASSERT_EQUAL(record_name("three", rec.name), ST_OK);
	rec.grantor_count = 1;
	rec.grantors[0] = 77;
	CU_ASSERT_EQUAL(apply(a, &rec), VERDICT_VOID);
	CU_ASSERT_EQUAL(index_of(a, "three"), 0);
	CU_ASSERT_EQUAL(commit_as(a, 2, "three", 0, 50, 6), VERDICT_OK);
	replica_free(a);
}

/*
 * The newest REPLICA_NAMES are kept, the same ones with the same bytes on a member, on a joiner that has the root's image, and
 * on an archive that started from one. What is forgotten can be committed again, but not by one who says since when it is in use.
 */
static void test_cases_names_forgotten(void)
{
	char name[32];
	seq_index first, begun;

	open_all();
	cache = NULL;
	begun = last;
	CU_ASSERT_EQUAL(commit_as(a, 1, "first", begun, 0, 0), VERDICT_OK);
	first = last;
	for (int i = 0; i < REPLICA_NAMES / 2; i++) {
		snprintf(name, sizeof name, "n%d", i);
		CU_ASSERT_EQUAL(commit_as(a, 1 + (engine_id)(i % 2), name, begun, 0, 0), VERDICT_OK);
	}
	cache_open(); /* from here on beside it */
	CU_ASSERT_EQUAL(replica_names_count(cache), replica_names_count(a));
	for (int i = REPLICA_NAMES / 2; i < REPLICA_NAMES - 1; i++) {
		snprintf(name, sizeof name, "n%d", i);
		CU_ASSERT_EQUAL(commit_as(a, 1 + (engine_id)(i % 2), name, begun, 0, 0), VERDICT_OK);
	}
	CU_ASSERT_EQUAL(index_of(a, "first"), first);
	CU_ASSERT_EQUAL(replica_names_forgotten(a), 0);
	CU_ASSERT_EQUAL(commit_as(a, 1, "last", 0, 0, 0), VERDICT_OK);
	CU_ASSERT_EQUAL(replica_names_count(a), REPLICA_NAMES);
	CU_ASSERT_EQUAL(replica_names_forgotten(a), first);
	CU_ASSERT(index_of(a, "first") == 0 && index_of(cache, "first") == 0 && index_of(cache, "n0") == index_of(a, "n0"));
	CU_ASSERT(roots_equal(a, cache));
	CU_ASSERT_EQUAL(commit_as(a, 2, "first", begun, 0, 0), VERDICT_VOID);
	CU_ASSERT_EQUAL(index_of(a, "first"), 0);
	CU_ASSERT_EQUAL(commit_as(a, 2, "new", first, 0, 0), VERDICT_OK); /* nothing that it could repeat is forgotten */
	CU_ASSERT_EQUAL(commit_as(a, 2, "first", 0, 0, 0), VERDICT_OK);
	replica_free(cache);
	cache_open(); /* a joiner of now */
	for (int i = 0; i < 2 * REPLICA_NAMES; i++) {
		snprintf(name, sizeof name, "m%d", i);
		CU_ASSERT_EQUAL(commit_as(a, 1, name, 0, 0, 0), VERDICT_OK);
	}
	CU_ASSERT(roots_equal(a, cache));
	CU_ASSERT_EQUAL(replica_names_count(cache), REPLICA_NAMES);
	CU_ASSERT_EQUAL(replica_names_forgotten(cache), replica_names_forgotten(a));
	replica_free(cache);
	replica_free(a);
}

void suite_catalog_cases(void)
{
	CU_pSuite s = CU_add_suite("catalog_cases", setup, teardown);

	CU_add_test(s, "parts of the removed", test_cases_parts_of_the_removed);
	CU_add_test(s, "parts kept", test_cases_parts_kept);
	CU_add_test(s, "replay over a split", test_cases_replay_split);
	CU_add_test(s, "paused", test_cases_paused);
	CU_add_test(s, "split key", test_cases_split_key);
	CU_add_test(s, "data catalog", test_cases_data_catalog);
	CU_add_test(s, "names", test_cases_names);
	CU_add_test(s, "names forgotten", test_cases_names_forgotten);
	CU_add_test(s, "bad root", test_cases_bad_root);
}
