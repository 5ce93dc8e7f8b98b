/*
 * bdb_dir.c - an archive's directory (engine/archive): is it ours, is it free, whose is it.
 */
#include "engine/archive/bdb_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char identity_name[] = "VALENCE", identity_new[] = "VALENCE.new", lock_name[] = "LOCK";

static enum status dir_make(struct bdb_store *s, struct error *err)
{
	if (snprintf(s->dir, sizeof s->dir, "%s", s->cfg.dir) >= (int)sizeof s->dir - 64) {
		error_set(err, ST_BAD_FILE, "the archive's directory name is too long");
		return ST_BAD_FILE;
	}
	if (mkdir(s->dir, 0700) != 0 && errno != EEXIST)
		return bdb_error(err, errno, "cannot make directory %s", s->dir);
	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return bdb_error(err, errno, "cannot open directory %s", s->dir);
	if (faccessat(s->dir_fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0)
		return bdb_error(err, errno, "cannot write to directory %s", s->dir);
	return ST_OK;
}

/* Without an identity file a directory must hold nothing but what a start cut short leaves. */
static enum status dir_is_ours(struct bdb_store *s, bool *new_out, struct error *err)
{
	DIR *dir;
	struct dirent *de;
	enum status st = ST_OK;
	int fd;

	*new_out = faccessat(s->dir_fd, identity_name, F_OK, 0) != 0;
	if (!*new_out)
		return ST_OK;
	fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		st = bdb_error(err, errno, "cannot read directory %s", s->dir);
		if (fd >= 0)
			close(fd);
		return st;
	}
	while ((de = readdir(dir)) && st == ST_OK) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") || !strcmp(de->d_name, "lost+found") ||
		    !strcmp(de->d_name, lock_name) || !strcmp(de->d_name, identity_new))
			continue;
		st = error_set(err, ST_BAD_FILE, "%s is not empty (it has %s) and not an archive's directory", s->dir,
			       de->d_name);
		error_hint(err, "Name an empty directory, or one that an archive made.");
	}
	closedir(dir);
	return st;
}

/* The lock is flock's: it ends with the process however it ends, and holds between engines of one process too. */
static enum status dir_lock(struct bdb_store *s, struct error *err)
{
	char text[32] = "";
	ssize_t n;

	s->lock_fd = openat(s->dir_fd, lock_name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return bdb_error(err, errno, "cannot write to directory %s", s->dir);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK)
			return bdb_error(err, errno, "cannot lock directory %s", s->dir);
		n = pread(s->lock_fd, text, sizeof text - 1, 0);
		text[n > 0 ? n : 0] = 0;
		error_set(err, ST_OBJECT_IN_USE, "%s is in use by the engine with process id %ld", s->dir,
			  strtol(text, NULL, 10));
		error_hint(err, "Stop that engine first, or give this one a directory of its own.");
		return ST_OBJECT_IN_USE;
	}
	n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
	if (ftruncate(s->lock_fd, 0) != 0 || pwrite(s->lock_fd, text, (size_t)n, 0) != n)
		return bdb_error(err, errno ? errno : EIO, "cannot write to directory %s", s->dir);
	return ST_OK;
}

enum status bdb_dir_sync(struct bdb_store *s, struct error *err)
{
	return fsync(s->dir_fd) == 0 ? ST_OK : bdb_error(err, errno, "cannot sync directory %s", s->dir);
}

enum status bdb_identity_write(struct bdb_store *s, const struct store_identity *id, struct error *err)
{
	char text[STORE_IDENTITY_TEXT_MAX];
	size_t n = store_identity_encode(id, text);
	int fd = openat(s->dir_fd, identity_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok;

	if (fd < 0)
		return bdb_error(err, errno, "cannot write %s/%s", s->dir, identity_new);
	errno = EIO;
	ok = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
	if (close(fd) != 0 || !ok || renameat(s->dir_fd, identity_new, s->dir_fd, identity_name) != 0)
		return bdb_error(err, errno, "cannot write %s/%s", s->dir, identity_name);
	return bdb_dir_sync(s, err);
}

static enum status identity_read(struct bdb_store *s, struct error *err)
{
	char text[STORE_IDENTITY_TEXT_MAX + 1];
	int fd = openat(s->dir_fd, identity_name, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	enum status st;

	if (fd < 0)
		return bdb_error(err, errno, "cannot read %s/%s", s->dir, identity_name);
	n = read(fd, text, sizeof text);
	close(fd);
	if (n < 0)
		return bdb_error(err, EIO, "cannot read %s/%s", s->dir, identity_name);
	st = store_identity_decode(text, (size_t)n, &s->identity);
	if (st == ST_OK)
		return store_identity_check(&s->cfg, s->dir, &s->identity, err);
	error_set(err, st, st == ST_BAD_FILE ? "%s/%s is not an archive's identity file" : "%s/%s is damaged", s->dir,
		  identity_name);
	error_hint(err, "Restore it from a backup; to rejoin with a copy from the others, use an empty directory.");
	return st;
}

static enum status subdir_make(struct bdb_store *s, const char *name, struct error *err)
{
	if (mkdirat(s->dir_fd, name, 0700) != 0 && errno != EEXIST)
		return bdb_error(err, errno, "cannot make directory %s/%s", s->dir, name);
	return ST_OK;
}

enum status bdb_dir_open(struct bdb_store *s, struct error *err)
{
	bool is_new;
	enum status st;

	s->dir_fd = s->lock_fd = -1;
	if ((st = dir_make(s, err)) != ST_OK || (st = dir_is_ours(s, &is_new, err)) != ST_OK ||
	    (st = dir_lock(s, err)) != ST_OK || (st = dir_is_ours(s, &is_new, err)) != ST_OK)
		return st;
	if (is_new) {
		struct store_identity id = {.format = STORE_FORMAT_VERSION};

		st = bdb_identity_write(s, &id, err);
		if (st != ST_OK)
			return st;
	}
	if ((st = identity_read(s, err)) != ST_OK || (st = subdir_make(s, "images", err)) != ST_OK)
		return st;
	return ST_OK;
}

void bdb_dir_close(struct bdb_store *s)
{
	if (s->lock_fd >= 0)
		close(s->lock_fd); /* and with it the lock; the file stays, removing it would race with the next */
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	s->lock_fd = s->dir_fd = -1;
}
