/*
 * bdb_recover.c - opening the journal (engine/archive): recovery, the scan, the verdict of the end mark, and the
 * rebuilding of a damaged one.
 *
 * After a lost log tail, data pages may carry log positions beyond the log's end: later records would then be
 * skipped by a later recovery. So a journal that is short, has a hole, or cannot be recovered at all is copied,
 * as far as it is good, into a fresh environment (journal.new), which takes its place in two renames; the old one
 * is kept as journal.damaged. It is read outside any environment, where positions in the log do not matter and
 * the checksums and numbers of our own records say what is good. Every step can be repeated after a crash.
 */
#include "engine/archive/bdb_int.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct bdb_env_config journal_config = {
	.cache_bytes = UINT64_C(64) << 20, /* twice what is dirty between checkpoints: no eviction on the commit path */
	.log_buffer_bytes = UINT64_C(4) << 20,
	.log_file_bytes = UINT64_C(32) << 20,
};

#define SCAN_HEAD_BYTES 4096u /* read of each record first: 63 operations */

/* -------- checks -------- */

/* The head of a record of which @have bytes are at @p; the regions are not looked at. */
bool bdb_record_check(const uint8_t *p, size_t bytes, uint64_t key, size_t have)
{
	struct disk_record r;
	const struct disk_op *op;
	size_t head;
	uint64_t end;

	if (have < sizeof r)
		return false;
	memcpy(&r, p, sizeof r);
	head = sizeof r + (size_t)r.op_count * sizeof(struct disk_op);
	if (r.magic != DISK_RECORD_MAGIC || r.first_op != key || !r.op_count || (bytes && r.bytes != bytes) ||
	    head > r.bytes || have < head)
		return false;
	uint32_t crc = r.crc;

	r.crc = 0;
	if (crc32c(crc32c(0, &r, sizeof r), p + sizeof r, head - sizeof r) != crc)
		return false;
	end = head;
	op = (const struct disk_op *)(const void *)(p + sizeof r);
	for (uint32_t i = 0; i < r.op_count; i++, op++) {
		if (op->off != end || op->bytes % 8 || (op->first_pos == 0) != (op->entry_count == 0) ||
		    op->bytes < (uint64_t)op->entry_count * sizeof(struct disk_entry))
			return false;
		end += op->bytes;
	}
	return end == r.bytes;
}

/* A whole region: its checksum, and that its entries stay inside it. */
bool bdb_region_check(const struct disk_op *op, const uint8_t *region)
{
	const struct disk_entry *e = (const struct disk_entry *)(const void *)region;

	if (crc32c(0, region, op->bytes) != op->crc)
		return false;
	for (uint32_t i = 0; i < op->entry_count; i++)
		if ((uint64_t)e[i].off + e[i].bytes > op->bytes)
			return false;
	return true;
}

/* -------- files -------- */

static int name_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Numbers of the segments in @path, sorted; array of malloc. */
static enum status segments_list(const char *path, uint64_t **at_out, size_t *count_out, struct error *err)
{
	DIR *dir = opendir(path);
	struct dirent *de;
	uint64_t *at = NULL;
	size_t count = 0, cap = 0;

	if (!dir)
		return bdb_error(err, errno, "cannot read directory %s", path);
	while ((de = readdir(dir))) {
		char *end;
		uint64_t n = strtoull(de->d_name, &end, 16);

		if (end != de->d_name + 16 || strcmp(end, ".db") != 0)
			continue;
		if (count == cap) {
			cap = cap ? cap * 2 : 64;
			uint64_t *more = realloc(at, cap * sizeof *at);

			if (!more) {
				free(at);
				closedir(dir);
				return error_set(err, ST_NOMEM, "out of memory");
			}
			at = more;
		}
		at[count++] = n;
	}
	closedir(dir);
	if (count)
		qsort(at, count, sizeof *at, name_compare);
	*at_out = at;
	*count_out = count;
	return ST_OK;
}

/* Removes a directory of plain files; nothing there is fine. */
static void tree_remove(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((de = readdir(dir)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			(void)unlinkat(dirfd(dir), de->d_name, 0);
	closedir(dir);
	(void)unlinkat(dir_fd, name, AT_REMOVEDIR);
}

static bool dir_there(const struct bdb_store *s, const char *name)
{
	return faccessat(s->dir_fd, name, F_OK, 0) == 0;
}

/* The journal's directory after whatever a crash interrupted. */
static enum status journal_dir_settle(struct bdb_store *s, struct error *err)
{
	if (!dir_there(s, "journal") && dir_there(s, "journal.damaged") && dir_there(s, "journal.new")) {
		if (renameat(s->dir_fd, "journal.new", s->dir_fd, "journal") != 0)
			return bdb_error(err, errno, "cannot rename %s/journal.new", s->dir);
	}
	tree_remove(s->dir_fd, "journal.new");
	if (mkdirat(s->dir_fd, "journal", 0700) != 0 && errno != EEXIST)
		return bdb_error(err, errno, "cannot make directory %s/journal", s->dir);
	return bdb_dir_sync(s, err);
}

/* -------- the scan -------- */

static void segments_close(struct bdb_store *s)
{
	if (s->writing && list_empty(&s->writing->link)) /* made for a group that was refused */
		list_push_back(&s->index.segments, &s->writing->link);
	LIST_FOREACH_SAFE(it, tmp, &s->index.segments) {
		struct bdb_segment *seg = CONTAINER_OF(it, struct bdb_segment, link);

		list_remove(&seg->link);
		(void)seg->db->close(seg->db, 0);
		free(seg);
	}
	s->writing = NULL;
	s->read_segment = NULL;
}

/*
 * A process that dies in the middle of removing a file can leave 512 bytes in its place, which Berkeley DB itself
 * calls no such file. It held nothing that is needed; if it did, the scan finds the hole.
 */
static bool segment_is_ghost(const char *path, uint64_t number, int ret)
{
	char name[PATH_MAX + 64];
	struct stat sb;

	snprintf(name, sizeof name, "%s/%016" PRIx64 ".db", path, number);
	return ret == ENOENT && stat(name, &sb) == 0 && sb.st_size < DISK_PAGE_BYTES && unlink(name) == 0;
}

/* @intact_out false: one cannot be opened; it and those after it are left out. @salvage: outside the environment. */
static enum status segments_open(struct bdb_store *s, bool salvage, bool *intact_out, struct error *err)
{
	uint64_t *at = NULL;
	size_t count = 0;
	enum status st = segments_list(s->jenv.path, &at, &count, err);

	*intact_out = true;
	for (size_t i = 0; st == ST_OK && i < count && *intact_out; i++) {
		struct bdb_segment *seg = calloc(1, sizeof *seg);
		char name[PATH_MAX + 64];
		int ret;

		if (!seg) {
			st = error_set(err, ST_NOMEM, "out of memory");
			break;
		}
		if (salvage)
			snprintf(name, sizeof name, "%s/%016" PRIx64 ".db", s->jenv.path, at[i]);
		else
			snprintf(name, sizeof name, "%016" PRIx64 ".db", at[i]);
		ret = bdb_open_file(salvage ? NULL : s->jenv.env, name, false, &seg->db);
		if (ret != 0) {
			free(seg);
			if (segment_is_ghost(s->jenv.path, at[i], ret))
				continue;
			bdb_error(err, ret, "cannot open %s", name);
			log_event(s->cfg.log, LOG_ARCHIVE, LOG_WARN, "segment lost", "file=%s error=\"%s\"", name,
				  db_strerror(ret));
			*intact_out = false;
			break;
		}
		seg->first_op = at[i];
		list_push_back(&s->index.segments, &seg->link);
	}
	free(at);
	return st;
}

/* Reads the first @want bytes of the record at the cursor, or of the next one; DB_NOTFOUND: no more. */
static int cursor_read(struct bdb_store *s, DBC *c, uint32_t how, size_t want, uint64_t *key_out, size_t *have_out)
{
	uint8_t key[8];
	DBT k = {.data = key, .ulen = sizeof key, .flags = DB_DBT_USERMEM}, v = {0};
	int ret;

	bdb_read_reserve(s, want);
	v.data = s->read_buf;
	v.ulen = (uint32_t)want;
	v.dlen = (uint32_t)want;
	v.flags = DB_DBT_USERMEM | DB_DBT_PARTIAL;
	ret = c->get(c, &k, &v, how);
	if (ret != 0)
		return ret;
	if (k.size != sizeof key)
		return DB_PAGE_NOTFOUND;
	*key_out = bdb_key_number(key);
	*have_out = v.size;
	return 0;
}

/* Adds one record (head read) to the index; all or nothing. */
static bool scan_record(struct bdb_store *s, struct bdb_segment *seg, DBC *c, uint64_t key, size_t have)
{
	struct bdb_index *x = &s->index;
	struct disk_record r;
	size_t head;

	if ((x->last_op && key != x->last_op + 1) || have < sizeof r)
		return false;
	memcpy(&r, s->read_buf, sizeof r);
	head = sizeof r + (size_t)r.op_count * sizeof(struct disk_op);
	if (r.magic != DISK_RECORD_MAGIC || r.bytes > UINT32_MAX / 2 || head > r.bytes)
		return false;
	if (head > have && (cursor_read(s, c, DB_CURRENT, head, &key, &have) != 0 || have < head))
		return false;
	if (!bdb_record_check(s->read_buf, 0, key, have))
		return false;
	for (uint32_t i = 0; i < r.op_count; i++) { /* terms that differ are in the region: rare */
		const struct disk_op *op = (const void *)(s->read_buf + sizeof r + i * sizeof *op);

		if (op->first_term != op->last_term && have < r.bytes) {
			if (cursor_read(s, c, DB_CURRENT, r.bytes, &key, &have) != 0 || have != r.bytes)
				return false;
			break;
		}
	}
	for (uint32_t i = 0; i < r.op_count; i++) {
		const struct disk_op *op = (const void *)(s->read_buf + sizeof r + i * sizeof *op);
		struct bdb_ref ref = {.number = key + i, .segment = seg, .before_record = i, .record_bytes = r.bytes};

		if (op->first_term != op->last_term && !bdb_region_check(op, s->read_buf + op->off))
			return false;
		bdb_index_add(x, s->cfg.mem, op, ref, (const void *)(s->read_buf + op->off));
		if (op->entry_count && x->last_pos > seg->max_pos)
			seg->max_pos = x->last_pos;
	}
	seg->bytes += r.bytes;
	return true;
}

/* False: there is damage; the index has what comes before it. */
static bool journal_scan(struct bdb_store *s)
{
	LIST_FOREACH(it, &s->index.segments) {
		struct bdb_segment *seg = CONTAINER_OF(it, struct bdb_segment, link);
		uint64_t key;
		size_t have;
		DBC *c;
		int ret = seg->db->cursor(seg->db, NULL, &c, 0);

		if (ret != 0)
			return false;
		while ((ret = cursor_read(s, c, DB_NEXT, SCAN_HEAD_BYTES, &key, &have)) == 0)
			if (!scan_record(s, seg, c, key, have)) {
				ret = DB_PAGE_NOTFOUND;
				break;
			}
		(void)c->close(c);
		if (ret != DB_NOTFOUND)
			return false;
	}
	return true;
}

/* -------- the rebuild -------- */

/* Copies the good records of one segment; @last_op as far as they go. DB_NOTFOUND: all of it. */
static int segment_copy(struct bdb_store *s, struct bdb_segment *seg, DB_ENV *to, uint64_t *last_op)
{
	char name[32];
	uint64_t key, in_txn = 0;
	size_t have;
	DB *db = NULL;
	DBC *c = NULL;
	DB_TXN *txn = NULL;
	int ret, end = DB_PAGE_NOTFOUND;

	if ((ret = seg->db->cursor(seg->db, NULL, &c, 0)) != 0)
		goto out;
	while ((end = cursor_read(s, c, DB_NEXT, sizeof(struct disk_record), &key, &have)) == 0) {
		struct disk_record r;
		uint8_t k8[8];
		DBT k = {.data = k8, .size = 8}, v = {0};
		bool good = have == sizeof r && (!*last_op || key == *last_op + 1);

		if (good) {
			memcpy(&r, s->read_buf, sizeof r);
			good = r.magic == DISK_RECORD_MAGIC && r.bytes <= UINT32_MAX / 2 &&
			       cursor_read(s, c, DB_CURRENT, r.bytes, &key, &have) == 0 && have == r.bytes &&
			       bdb_record_check(s->read_buf, r.bytes, key, have);
		}
		for (uint32_t i = 0; good && i < r.op_count; i++) {
			const struct disk_op *op = (const void *)(s->read_buf + sizeof r + i * sizeof *op);

			good = bdb_region_check(op, s->read_buf + op->off);
		}
		if (!good) {
			end = DB_PAGE_NOTFOUND;
			break;
		}
		bdb_key(key, k8);
		v.data = s->read_buf;
		v.size = r.bytes;
		snprintf(name, sizeof name, "%016" PRIx64 ".db", key); /* named by what is first in it */
		if (!db && (ret = bdb_open_file(to, name, true, &db)) != 0)
			goto out;
		if ((!txn && (ret = to->txn_begin(to, NULL, &txn, 0)) != 0) || (ret = db->put(db, txn, &k, &v, 0)) != 0)
			goto out;
		in_txn += r.bytes;
		*last_op = key + r.op_count - 1;
		if (in_txn > (UINT64_C(4) << 20)) {
			ret = txn->commit(txn, DB_TXN_NOSYNC);
			txn = NULL;
			in_txn = 0;
			if (ret != 0)
				goto out;
		}
	}
	if (txn) {
		ret = txn->commit(txn, 0);
		txn = NULL;
	}
out:
	if (txn)
		(void)txn->abort(txn);
	if (c)
		(void)c->close(c);
	if (db)
		(void)db->close(db, 0);
	return ret == 0 ? end : ret;
}

/* Puts a fresh environment with the good records in the place of the journal; everything is closed then. */
static enum status journal_rebuild(struct bdb_store *s, struct error *err)
{
	struct bdb_env fresh;
	char path[PATH_MAX + 16];
	uint64_t last_op = 0;
	enum status st;
	bool intact;
	int ret = DB_NOTFOUND;

	log_event(s->cfg.log, LOG_ARCHIVE, LOG_WARN, "journal rebuild", "directory=%s", s->jenv.path);
	if ((st = bdb_space_check(s, err)) != ST_OK)
		return st;
	segments_close(s);
	bdb_env_close(&s->jenv, false); /* recovery's checkpoint put all that the log had into the files */
	if ((st = segments_open(s, true, &intact, err)) != ST_OK)
		return st;
	tree_remove(s->dir_fd, "journal.new");
	if (mkdirat(s->dir_fd, "journal.new", 0700) != 0)
		return bdb_error(err, errno, "cannot make directory %s/journal.new", s->dir);
	snprintf(path, sizeof path, "%s/journal.new", s->dir);
	st = bdb_env_open(&fresh, path, "journal", &journal_config, s->cfg.log, err);
	if (st != ST_OK)
		return st;
	LIST_FOREACH(it, &s->index.segments) {
		ret = segment_copy(s, CONTAINER_OF(it, struct bdb_segment, link), fresh.env, &last_op);
		if (ret != DB_NOTFOUND)
			break;
	}
	if (bdb_status(ret) == ST_DISK_FULL || bdb_status(ret) == ST_NOMEM) {
		bdb_env_close(&fresh, false);
		return bdb_error(err, ret, "cannot rebuild the journal in %s", path);
	}
	bdb_env_close(&fresh, true);
	segments_close(s);
	tree_remove(s->dir_fd, "journal.damaged");
	if (renameat(s->dir_fd, "journal", s->dir_fd, "journal.damaged") != 0 ||
	    renameat(s->dir_fd, "journal.new", s->dir_fd, "journal") != 0)
		return bdb_error(err, errno, "cannot put %s in the place of the damaged journal", path);
	return bdb_dir_sync(s, err);
}

/* -------- open -------- */

/* @intact_out false: damage was found; what is before it is in the index. */
static enum status journal_load(struct bdb_store *s, bool *intact_out, bool *salvaged_out, struct error *err)
{
	char path[PATH_MAX + 16];
	enum status st;

	snprintf(path, sizeof path, "%s/journal", s->dir);
	bdb_index_clear(&s->index, s->cfg.mem);
	*salvaged_out = false;
	st = bdb_env_open(&s->jenv, path, "journal", &journal_config, s->cfg.log, err);
	if (st == ST_CORRUPT || st == ST_IO || st == ST_BAD_FILE) {
		log_event(s->cfg.log, LOG_ARCHIVE, LOG_ERROR, "journal recovery failed", "error=\"%s\" detail=\"%s\"",
			  err ? err->message : "", err ? err->detail : "");
		memcpy(s->jenv.path, path, sizeof path);
		*salvaged_out = true;
	} else if (st != ST_OK) {
		return st;
	}
	st = segments_open(s, *salvaged_out, intact_out, err);
	if (st == ST_OK && !journal_scan(s))
		*intact_out = false;
	return st;
}

/* A file made for a group that never came: gone, so that files are in the order of what they have. */
static enum status segments_prune(struct bdb_store *s, struct error *err)
{
	LIST_FOREACH_SAFE(it, tmp, &s->index.segments) {
		struct bdb_segment *seg = CONTAINER_OF(it, struct bdb_segment, link);
		char name[32];
		int ret;

		if (seg->bytes)
			continue;
		snprintf(name, sizeof name, "%016" PRIx64 ".db", seg->first_op);
		list_remove(it);
		(void)seg->db->close(seg->db, DB_NOSYNC);
		free(seg);
		ret = s->jenv.env->dbremove(s->jenv.env, NULL, name, NULL, DB_AUTO_COMMIT);
		if (ret != 0)
			return bdb_error(err, ret, "cannot remove %s/%s", s->jenv.path, name);
	}
	return ST_OK;
}

/*
 * What the end mark says of this journal. Another identity's mark (a crash between writing the identity and the
 * mark) says nothing: that voter id had not promised anything yet. No mark at all cannot vouch for anything.
 */
static bool journal_is_short(const struct bdb_store *s)
{
	const struct disk_mark *m = &s->mark.at;

	if (!m->number)
		return s->identity.voter_id != 0;
	if (m->log_id != s->identity.log_id || m->voter_id != s->identity.voter_id)
		return false;
	return m->is_short || s->index.last_op < m->op;
}

static enum status mark_settle(struct bdb_store *s, bool is_short, struct error *err)
{
	struct disk_mark m = s->mark.at;

	if (!m.number || m.log_id != s->identity.log_id || m.voter_id != s->identity.voter_id) {
		memset(&m, 0, sizeof m);
		m.base_op = s->index.last_op;
	}
	m.log_id = s->identity.log_id;
	m.voter_id = s->identity.voter_id;
	if (!is_short) {
		m.op = s->index.last_op; /* recovered is durable: recovery ends in a checkpoint */
		m.pos = s->index.last_pos;
	}
	m.is_short = is_short;
	return bdb_mark_set(s, &m, err);
}

enum status bdb_journal_open(struct bdb_store *s, struct error *err)
{
	bool intact, salvaged, is_short;
	enum status st = journal_dir_settle(s, err);

	if (st != ST_OK || (st = journal_load(s, &intact, &salvaged, err)) != ST_OK)
		return st;
	is_short = journal_is_short(s);
	if (salvaged || !intact || (is_short && !s->mark.at.is_short && s->index.last_op)) {
		if ((st = journal_rebuild(s, err)) != ST_OK)
			return st;
		if ((st = journal_load(s, &intact, &salvaged, err)) != ST_OK)
			return st;
		if (salvaged || !intact)
			return error_set(err, ST_CORRUPT, "%s cannot be read even after it was rebuilt", s->jenv.path);
		is_short = journal_is_short(s); /* the copy may have less than the scan (damage), or more (files) */
	}
	if (is_short)
		log_event(s->cfg.log, LOG_ARCHIVE, LOG_ERROR, "journal is short",
			  "last_op=%" PRIu64 " last_pos=%" PRIu64 " acknowledged_op=%" PRIu64
			  " acknowledged_pos=%" PRIu64, s->index.last_op, s->index.last_pos, s->mark.at.op,
			  s->mark.at.pos);
	if ((st = segments_prune(s, err)) != ST_OK)
		return st;
	if (!list_empty(&s->index.segments)) {
		s->writing = CONTAINER_OF(s->index.segments.prev, struct bdb_segment, link);
		if (s->writing->bytes >= s->segment_bytes)
			s->writing = NULL;
	}
	return mark_settle(s, is_short, err);
}

void bdb_journal_close(struct bdb_store *s, bool checkpoint)
{
	segments_close(s);
	bdb_env_close(&s->jenv, checkpoint);
}

enum status bdb_journal_reset(struct bdb_store *s, struct error *err)
{
	DB_ENV *env = s->jenv.env;
	DB_TXN *txn = NULL;
	uint64_t *at = NULL, last_op = s->index.last_op;
	size_t count = 0;
	enum status st;
	int ret;

	segments_close(s);
	bdb_index_clear(&s->index, s->cfg.mem);
	s->index.last_op = last_op; /* numbers go on: a mark is never ahead of a journal by accident */
	st = segments_list(s->jenv.path, &at, &count, err);
	if (st != ST_OK)
		return st;
	ret = env->txn_begin(env, NULL, &txn, 0);
	for (size_t i = 0; ret == 0 && i < count; i++) {
		char name[32];

		snprintf(name, sizeof name, "%016" PRIx64 ".db", at[i]);
		ret = env->dbremove(env, txn, name, NULL, 0);
	}
	free(at);
	if (ret == 0) {
		ret = txn->commit(txn, DB_TXN_SYNC);
		txn = NULL;
	}
	if (txn)
		(void)txn->abort(txn);
	tree_remove(s->dir_fd, "journal.damaged");
	return ret == 0 ? ST_OK : bdb_error(err, ret, "cannot empty the journal in %s", s->jenv.path);
}
