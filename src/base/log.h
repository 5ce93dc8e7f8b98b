/*
 * log.h - structured log lines (base): one line per event, `time level subsystem engine event key=value …`.
 *
 * Levels per subsystem, set at run time. The sink is given by the process (stderr) or the simulator (a
 * ring printed when a seed fails). Text values are quoted when they need it. Not for the data path.
 */
#ifndef VALENCE_BASE_LOG_H
#define VALENCE_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };
enum log_subsystem {
	LOG_BASE, LOG_NET, LOG_RELAY, LOG_ATOMS, LOG_CATALOG, LOG_SEQUENCER, LOG_TXN, LOG_ARCHIVE,
	LOG_SQL, LOG_PGWIRE, LOG_ENGINE, LOG_CLI, LOG_SIM, LOG_SUBSYSTEM_COUNT
};

struct logger {
	void *ctx;
	void (*write)(void *ctx, const char *line, uint32_t bytes); /* a whole line with its newline */
	uint64_t (*wall_us)(void *ctx_clock);
	void *ctx_clock;
	char name[32]; /* the engine's */
	uint8_t levels[LOG_SUBSYSTEM_COUNT];
};

void logger_init_stderr(struct logger *lg, const char *name);
void logger_set_levels(struct logger *lg, enum log_level level);
/* "info" or "warn,net=debug": false and *lg unchanged when it does not parse */
bool logger_parse_levels(struct logger *lg, const char *spec);
static inline bool log_on(const struct logger *lg, enum log_subsystem sub, enum log_level level)
{
	return lg && (int)level <= (int)lg->levels[sub];
}
/* event is a fixed word or two ("member removed"); fmt gives "key=%s key=%llu" pairs or is "" */
void log_event(struct logger *lg, enum log_subsystem sub, enum log_level level, const char *event,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
