/*
 * env.h - clock, randomness and timers as interfaces given to the core (base).
 *
 * A real process and the simulator each give one. The core never calls the operating system's clock or
 * random numbers (rule 3).
 */
#ifndef VALENCE_BASE_ENV_H
#define VALENCE_BASE_ENV_H

#include <stdint.h>

struct clock {
	void *ctx;
	uint64_t (*now_us)(void *ctx);  /* monotonic, since an arbitrary start */
	uint64_t (*wall_us)(void *ctx); /* microseconds since 1970-01-01 UTC; may jump */
};
static inline uint64_t clock_now_us(const struct clock *c) { return c->now_us(c->ctx); }
static inline uint64_t clock_wall_us(const struct clock *c) { return c->wall_us(c->ctx); }
struct clock clock_system(void);

/* xoshiro256**: a stream is a pure function of its seed. */
struct rng { uint64_t s[4]; };
void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* uniform in [0, n); n > 0 */
double rng_unit(struct rng *r);                /* [0, 1) */
uint64_t rng_seed_system(void);                /* from the operating system, for real processes */

/* Bytes that nobody can guess: nonces, keys. The simulator's come from its rng, so a seed repeats them. */
struct entropy {
	void *ctx;
	void (*fill)(void *ctx, void *out, uint64_t bytes);
};
static inline void entropy_fill(const struct entropy *e, void *out, uint64_t bytes) { e->fill(e->ctx, out, bytes); }
struct entropy entropy_system(void);
struct entropy entropy_rng(struct rng *rng); /* lends it */

uint32_t crc32c(uint32_t crc, const void *p, uint64_t bytes); /* start with 0; uses SSE4.2 where there is one */

#endif
