/*
 * unit.c - running what must end the process, and skipping (tests).
 */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t unit_slow(void)
{
	const char *slow = getenv("VALENCE_SLOW");
	uint64_t n = slow ? strtoull(slow, NULL, 10) : 0;

	return n ? n : 1;
}

static void child_run(void (*f)(void *ctx), void *ctx, int fd) __attribute__((noreturn));

static void child_run(void (*f)(void *ctx), void *ctx, int fd)
{
	struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	/* a sanitizer's handler would turn the signal into an exit status */
	signal(SIGABRT, SIG_DFL);
	dup2(fd, STDERR_FILENO);
	close(fd);
	f(ctx);
	_exit(0);
}

int unit_death(void (*f)(void *ctx), void *ctx, char *text, size_t text_bytes)
{
	char sink[256];
	size_t size = 0;
	int fds[2], wait_status;
	pid_t pid;
	ssize_t n;

	fflush(NULL); /* else the child's abort would print what is buffered once more */
	if (pipe(fds) < 0)
		return -1;
	pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0)
		child_run(f, ctx, fds[1]);
	close(fds[1]);
	for (;;) {
		n = read(fds[0], sink, sizeof sink);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (text && size + 1 < text_bytes) {
			size_t take = (size_t)n < text_bytes - 1 - size ? (size_t)n : text_bytes - 1 - size;

			memcpy(text + size, sink, take);
			size += take;
		}
	}
	close(fds[0]);
	if (text && text_bytes)
		text[size] = '\0';
	while (waitpid(pid, &wait_status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
}

int unit_death_signal(void (*f)(void *ctx), void *ctx)
{
	return unit_death(f, ctx, NULL, 0);
}

unsigned unit_skipped;

void unit_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("SKIP ", stdout);
	vprintf(fmt, args);
	putchar('\n');
	va_end(args);
	unit_skipped++;
}
