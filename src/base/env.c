/*
 * env.c - the real clock and seed, and the random number streams (base).
 *
 * The only file of the core that asks the operating system for time or randomness (rule 3).
 */
#include "base/env.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/assert.h"

static uint64_t clock_read_us(clockid_t id)
{
	struct timespec ts;

	ASSERT(clock_gettime(id, &ts) == 0);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t system_now_us(void *ctx)
{
	(void)ctx;
	return clock_read_us(CLOCK_MONOTONIC);
}

static uint64_t system_wall_us(void *ctx)
{
	(void)ctx;
	return clock_read_us(CLOCK_REALTIME);
}

struct clock clock_system(void)
{
	struct clock c = {NULL, system_now_us, system_wall_us};

	return c;
}

uint64_t rng_seed_system(void)
{
	uint64_t seed = 0;
	ssize_t n;

	do {
		n = getrandom(&seed, sizeof seed, 0);
	} while (n < 0 && errno == EINTR);
	ASSERT_OP(n, ==, sizeof seed);
	return seed;
}

static void system_fill(void *ctx, void *out, uint64_t bytes)
{
	uint8_t *p = out;

	(void)ctx;
	while (bytes > 0) {
		ssize_t n = getrandom(p, bytes < 256 ? bytes : 256, 0);

		if (n < 0 && errno == EINTR)
			continue;
		ASSERT_OP(n, >, 0);
		p += n;
		bytes -= (uint64_t)n;
	}
}

struct entropy entropy_system(void)
{
	struct entropy e = {NULL, system_fill};

	return e;
}

static void rng_fill(void *ctx, void *out, uint64_t bytes)
{
	uint8_t *p = out;

	while (bytes > 0) {
		uint64_t v = rng_next(ctx), n = bytes < sizeof v ? bytes : sizeof v;

		memcpy(p, &v, n);
		p += n;
		bytes -= n;
	}
}

struct entropy entropy_rng(struct rng *rng)
{
	struct entropy e = {rng, rng_fill};

	return e;
}

/* splitmix64, as the authors of xoshiro advise for filling its state from one number */
static uint64_t splitmix(uint64_t *x)
{
	uint64_t z = *x += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void rng_init(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = splitmix(&seed);
}

static uint64_t rotl(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

/* xoshiro256** 1.0 (Blackman and Vigna, 2018) */
uint64_t rng_next(struct rng *r)
{
	uint64_t *s = r->s;
	uint64_t out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return out;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	uint64_t reject, v;

	ASSERT(n > 0);
	/* 2^64 mod n values too many: drawing again for those makes the rest exactly uniform */
	reject = -n % n;
	do {
		v = rng_next(r);
	} while (v < reject);
	return v % n;
}

double rng_unit(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53;
}
