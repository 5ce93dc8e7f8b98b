/*
 * bdb_env.c - Berkeley DB environments (engine/archive): opening with recovery, repair before it, errors.
 *
 * Each environment is private to one process (DB_PRIVATE: its regions are heap memory, so nothing of a dead
 * process is left but files) and recovered at every open. The directory's lock keeps other processes out.
 */
#include "engine/archive/bdb_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct bdb_tuning bdb_tuning = {
	.segment_bytes = UINT64_C(64) << 20,
	.group_bytes = UINT64_C(16) << 20,
	.record_bytes = UINT64_C(2) << 20,
	.checkpoint_bytes = UINT64_C(32) << 20,
	.reserve_bytes = UINT64_C(128) << 20,
	.mark_sync_ms = 50,
};

static __thread char last_words[200]; /* what Berkeley DB said last, in the thread that called it */

static void on_db_error(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	if (!last_words[0] || strstr(text, "No space left"))
		snprintf(last_words, sizeof last_words, "%s", text);
}

void bdb_key(uint64_t number, uint8_t key[8])
{
	uint64_t be = __builtin_bswap64(number);

	memcpy(key, &be, 8);
}

uint64_t bdb_key_number(const uint8_t key[8])
{
	uint64_t be;

	memcpy(&be, key, 8);
	return __builtin_bswap64(be);
}

enum status bdb_status(int ret)
{
	switch (ret) {
	case 0: return ST_OK;
	case DB_NOTFOUND: return ST_END;
	case ENOSPC:
	case EDQUOT:
	case EFBIG: return ST_DISK_FULL;
	case ENOMEM: return ST_NOMEM;
	case DB_RUNRECOVERY:
	case DB_PAGE_NOTFOUND:
	case DB_VERIFY_BAD:
	case DB_LOG_VERIFY_BAD:
	case DB_OLD_VERSION:
	case DB_VERSION_MISMATCH:
	case DB_SECONDARY_BAD:
	case EINVAL: return ST_CORRUPT; /* every call's own arguments are right */
	case EACCES:
	case EPERM:
	case EROFS:
	case ENOENT:
	case ENOTDIR: return ST_BAD_FILE;
	default: return ST_IO;
	}
}

enum status bdb_error(struct error *err, int ret, const char *fmt, ...)
{
	enum status st = bdb_status(ret);
	char what[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	if (strstr(last_words, "No space left")) /* Berkeley DB turns a full log into DB_RUNRECOVERY */
		st = ST_DISK_FULL;
	error_set(err, st, "%s: %s", what, ret < 0 ? db_strerror(ret) : strerror(ret));
	if (last_words[0])
		error_detail(err, "%s", last_words);
	if (st == ST_DISK_FULL)
		error_hint(err, "Make room on the file system of the archive's directory, then start again.");
	else if (st == ST_CORRUPT)
		error_hint(err, "Check the disk. To rejoin with a copy from the others, start with an empty directory.");
	else if (st == ST_BAD_FILE)
		error_hint(err, "Check the directory's path, owner and permissions.");
	last_words[0] = 0;
	return st;
}

/*
 * Facts.md: when space ran out on a data page, the file ends in part of a page and recovery panics. The log has
 * what was to be on it, so cutting the file to whole pages loses nothing.
 */
static enum status repair_files(const char *path, struct logger *log, struct error *err)
{
	DIR *dir = opendir(path);
	struct dirent *de;

	if (!dir)
		return bdb_error(err, errno, "cannot read directory %s", path);
	while ((de = readdir(dir))) {
		size_t n = strlen(de->d_name);
		struct stat sb;

		if (n < 3 || strcmp(de->d_name + n - 3, ".db") != 0 ||
		    fstatat(dirfd(dir), de->d_name, &sb, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(sb.st_mode) ||
		    sb.st_size < DISK_PAGE_BYTES ||
		    sb.st_size % DISK_PAGE_BYTES == 0)
			continue;
		int fd = openat(dirfd(dir), de->d_name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0 || ftruncate(fd, sb.st_size - sb.st_size % DISK_PAGE_BYTES) != 0 || fsync(fd) != 0) {
			enum status st = bdb_error(err, errno, "cannot repair %s/%s", path, de->d_name);

			if (fd >= 0)
				close(fd);
			closedir(dir);
			return st;
		}
		close(fd);
		log_event(log, LOG_ARCHIVE, LOG_WARN, "partial page cut", "file=%s/%s bytes=%lld", path, de->d_name,
			  (long long)(sb.st_size % DISK_PAGE_BYTES));
	}
	closedir(dir);
	return ST_OK;
}

static int env_configure(DB_ENV *env, const struct bdb_env_config *cfg)
{
	int ret;

	env->set_errcall(env, on_db_error);
	if ((ret = env->set_cachesize(env, 0, (uint32_t)cfg->cache_bytes, 1)) != 0 ||
	    (ret = env->set_lg_bsize(env, (uint32_t)cfg->log_buffer_bytes)) != 0 ||
	    (ret = env->set_lg_max(env, (uint32_t)cfg->log_file_bytes)) != 0 ||
	    (ret = env->set_lk_max_locks(env, 50000)) != 0 ||
	    (ret = env->set_lk_max_objects(env, 50000)) != 0 ||
	    (ret = env->set_lk_max_lockers(env, 1000)) != 0 ||
	    (ret = env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1)) != 0)
		return ret;
	return 0;
}

enum status bdb_env_open(struct bdb_env *e, const char *path, const char *name, const struct bdb_env_config *cfg,
			 struct logger *log, struct error *err)
{
	enum status st;
	int ret;

	memset(e, 0, sizeof *e);
	e->name = name;
	snprintf(e->path, sizeof e->path, "%s", path);
	st = repair_files(path, log, err);
	if (st != ST_OK)
		return st;
	last_words[0] = 0;
	ret = db_env_create(&e->env, 0);
	if (ret != 0) {
		e->env = NULL;
		return bdb_error(err, ret, "cannot make a database environment");
	}
	ret = env_configure(e->env, cfg);
	if (ret == 0)
		ret = e->env->open(e->env, path,
				   DB_CREATE | DB_RECOVER | DB_PRIVATE | DB_THREAD | DB_INIT_TXN | DB_INIT_LOG |
					   DB_INIT_LOCK | DB_INIT_MPOOL,
				   0600);
	if (ret != 0) {
		st = bdb_error(err, ret, "cannot recover the %s environment %s", name, path);
		e->env->close(e->env, 0);
		e->env = NULL;
		last_words[0] = 0;
		return st;
	}
	return ST_OK;
}

void bdb_env_close(struct bdb_env *e, bool checkpoint)
{
	if (!e->env)
		return;
	if (checkpoint) /* the next open has nothing to recover; failing changes nothing but that */
		(void)e->env->txn_checkpoint(e->env, 0, 0, DB_FORCE);
	(void)e->env->close(e->env, 0);
	e->env = NULL;
	last_words[0] = 0;
}

void bdb_env_wrote(struct bdb_env *e, uint64_t bytes)
{
	__atomic_fetch_add(&e->written_bytes, bytes, __ATOMIC_RELAXED);
}

/*
 * Reads never wait for a writer's page locks (DB_READ_UNCOMMITTED): the loop asks only for keys whose transaction
 * has ended, and those values do not change under it.
 */
int bdb_open_file(DB_ENV *env, const char *name, bool create, DB **db_out)
{
	uint32_t flags = env ? DB_AUTO_COMMIT | DB_THREAD | DB_READ_UNCOMMITTED : DB_RDONLY;
	DB *db;
	int ret = db_create(&db, env, 0);

	if (ret != 0)
		return ret;
	if (!env)
		db->set_errcall(db, on_db_error);
	if (create) {
		flags |= DB_CREATE;
		ret = db->set_pagesize(db, DISK_PAGE_BYTES);
	}
	if (ret == 0)
		ret = db->open(db, NULL, name, NULL, DB_BTREE, flags, 0600);
	if (ret != 0) {
		(void)db->close(db, DB_NOSYNC);
		return ret;
	}
	*db_out = db;
	return 0;
}

enum status bdb_space_check(const struct bdb_store *s, struct error *err)
{
	struct statvfs v;
	uint64_t available;

	if (fstatvfs(s->dir_fd, &v) != 0)
		return bdb_error(err, errno, "cannot ask for the free space of %s", s->dir);
	available = (uint64_t)v.f_bavail * v.f_frsize;
	if (available >= bdb_tuning.reserve_bytes)
		return ST_OK;
	error_set(err, ST_DISK_FULL, "%s has %" PRIu64 " MiB of free space left, less than the reserve of %" PRIu64 " MiB",
		  s->dir, available >> 20, bdb_tuning.reserve_bytes >> 20);
	error_hint(err, "Make room on the file system of the archive's directory, then start again.");
	return ST_DISK_FULL;
}
