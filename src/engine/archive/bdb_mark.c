/*
 * bdb_mark.c - the end mark (engine/archive): notices a journal whose tail vanished (P23).
 *
 * Damage in the middle of Berkeley DB's last log file reads as its end, and recovery says that all is well with
 * what was before it (facts.md). So the number of the newest acknowledged operation is kept in a file beside it.
 * Operations, not positions: votes without entries and replaced suffixes count as well. A journal that ends
 * before its mark has forgotten promises: short_journal, until the voter has a new id.
 *
 * The mark is written (pwrite, about 2 us) after each group commit and before its acknowledgement, and synced by
 * the keeper, off the commit path, at most mark_sync_ms later (or later by as long as a checkpoint takes). So:
 * - after the death of the process alone (kill -9) it is exact: all that was acknowledged is known;
 * - after a power failure it may lie behind by what was acknowledged in the last mark_sync_ms. A tail that
 *   vanishes in a power failure (a disk that lies about flushes, say) is noticed unless it is younger than that;
 * - damage at any later time (it is the same file then) is noticed if it takes even one acknowledged operation.
 * A mark synced with each commit would be exact in the second case too; it costs a second flush for each group.
 *
 * Three slots: one is known to be synced, one is being synced, one is being written; so no moment has fewer than
 * one whole slot. The number rises with each write; the highest good one counts.
 */
#include "engine/archive/bdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static uint32_t mark_crc(const struct disk_mark *m)
{
	return crc32c(0, m, offsetof(struct disk_mark, crc));
}

static int slot_write(struct bdb_mark *m)
{
	struct disk_mark slot;
	ssize_t n;

	m->at.magic = DISK_MARK_MAGIC;
	m->at.number++;
	m->at.crc = mark_crc(&m->at);
	slot = m->at;
	n = pwrite(m->fd, &slot, sizeof slot, (off_t)m->slot * DISK_MARK_STRIDE);
	if (n != (ssize_t)sizeof slot)
		return n < 0 ? errno : ENOSPC;
	m->dirty = true;
	return 0;
}

static void slots_read(struct bdb_mark *m)
{
	memset(&m->at, 0, sizeof m->at);
	m->slot = 0;
	for (uint32_t i = 0; i < DISK_MARK_SLOTS; i++) {
		struct disk_mark slot;

		if (pread(m->fd, &slot, sizeof slot, (off_t)i * DISK_MARK_STRIDE) != (ssize_t)sizeof slot ||
		    slot.magic != DISK_MARK_MAGIC || slot.crc != mark_crc(&slot) || slot.number <= m->at.number)
			continue;
		m->at = slot;
		m->slot = (i + 1) % DISK_MARK_SLOTS; /* never over the newest */
	}
}

enum status bdb_mark_open(struct bdb_store *s, struct error *err)
{
	static const uint8_t zeros[DISK_MARK_SLOTS * DISK_MARK_STRIDE];
	struct bdb_mark *m = &s->mark;
	off_t size;

	m->fd = openat(s->dir_fd, "MARK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (m->fd < 0)
		return bdb_error(err, errno, "cannot open %s/MARK", s->dir);
	size = lseek(m->fd, 0, SEEK_END);
	if (size < (off_t)sizeof zeros) { /* its blocks are there from the start: later writes need no space */
		size_t from = size < 0 ? 0 : (size_t)size;
		ssize_t n = pwrite(m->fd, zeros + from, sizeof zeros - from, (off_t)from);

		if (n != (ssize_t)(sizeof zeros - from))
			return bdb_error(err, n < 0 ? errno : ENOSPC, "cannot write %s/MARK", s->dir);
		if (fsync(m->fd) != 0)
			return bdb_error(err, errno, "cannot write %s/MARK", s->dir);
	}
	slots_read(m);
	return bdb_dir_sync(s, err);
}

void bdb_mark_close(struct bdb_store *s)
{
	if (s->mark.fd < 0)
		return;
	(void)bdb_mark_sync(&s->mark);
	close(s->mark.fd);
	s->mark.fd = -1;
}

int bdb_mark_note(struct bdb_mark *m, uint64_t op, uint64_t pos)
{
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	if (!m->at.is_short) {
		m->at.op = op;
		m->at.pos = pos;
		ret = slot_write(m);
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int bdb_mark_sync(struct bdb_mark *m)
{
	bool dirty;

	pthread_mutex_lock(&m->lock);
	dirty = m->dirty;
	m->dirty = false;
	if (dirty)
		m->slot = (m->slot + 1) % DISK_MARK_SLOTS;
	pthread_mutex_unlock(&m->lock);
	return dirty && fdatasync(m->fd) != 0 ? errno : 0;
}

enum status bdb_mark_set(struct bdb_store *s, const struct disk_mark *mark, struct error *err)
{
	struct bdb_mark *m = &s->mark;
	uint64_t number;
	int ret;

	pthread_mutex_lock(&m->lock);
	number = m->at.number;
	m->at = *mark;
	m->at.number = number;
	ret = slot_write(m);
	pthread_mutex_unlock(&m->lock);
	if (ret == 0)
		ret = bdb_mark_sync(m);
	return ret == 0 ? ST_OK : bdb_error(err, ret, "cannot write %s/MARK", s->dir);
}
