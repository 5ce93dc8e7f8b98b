/*
 * status.h - every outcome a function of Valence can report (base).
 *
 * One table: name, SQLSTATE that a client sees, default text. Functions that can fail return
 * enum status and are must-check; outputs are set only on ST_OK unless a header says otherwise.
 */
#ifndef VALENCE_BASE_STATUS_H
#define VALENCE_BASE_STATUS_H

#include <stddef.h>
#include <stdint.h>

#define STATUS_TABLE(X)                                                                    \
	X(OK, "00000", "done")                                                             \
	X(WAIT, "55P03", "waiting for something that is not here yet")                     \
	X(END, "02000", "nothing more")                                                    \
	X(AGAIN, "55000", "try again")                                                     \
	X(INTERNAL, "XX000", "internal error")                                             \
	X(CORRUPT, "XX001", "damaged data")                                                \
	X(INDEX_CORRUPT, "XX002", "damaged index")                                         \
	X(NOMEM, "53200", "out of memory")                                                 \
	X(DISK_FULL, "53100", "no space left")                                             \
	X(TOO_MANY_CONNECTIONS, "53300", "too many connections")                           \
	X(CONFIG_LIMIT, "53400", "a configured limit was exceeded")                        \
	X(IO, "58030", "input/output error")                                               \
	X(SYSTEM, "58000", "system error")                                                 \
	X(BAD_FILE, "58P01", "file missing or not usable")                                 \
	X(PROTOCOL, "08P01", "protocol violation")                                         \
	X(CONNECTION, "08006", "connection failed")                                        \
	X(CONNECTION_REFUSED, "08004", "connection refused")                               \
	X(OUTCOME_UNKNOWN, "08007", "transaction outcome unknown")                         \
	X(UNSUPPORTED, "0A000", "not supported")                                           \
	X(CARDINALITY, "21000", "more than one row")                                       \
	X(DATA, "22000", "invalid data")                                                   \
	X(STRING_TRUNCATION, "22001", "value too long")                                    \
	X(NUMERIC_RANGE, "22003", "value out of range")                                    \
	X(NULL_NOT_ALLOWED, "22004", "null value not allowed")                             \
	X(BAD_DATETIME, "22007", "invalid date or time")                                   \
	X(DATETIME_RANGE, "22008", "date or time out of range")                            \
	X(LOG_ARGUMENT, "2201E", "invalid argument for logarithm")                         \
	X(POWER_ARGUMENT, "2201F", "invalid argument for power function")                  \
	X(BAD_REGEX, "2201B", "invalid regular expression")                                \
	X(SUBSTRING, "22011", "negative substring length")                                 \
	X(DIVISION_BY_ZERO, "22012", "division by zero")                                   \
	X(BAD_PARAMETER, "22023", "invalid parameter value")                               \
	X(BAD_ESCAPE, "22025", "invalid escape sequence")                                  \
	X(ESCAPE_USE, "2200C", "invalid use of escape character")                          \
	X(BAD_ENCODING, "22021", "invalid byte sequence for encoding \"UTF8\"")            \
	X(BAD_TEXT, "22P02", "invalid text representation")                                \
	X(BAD_BINARY, "22P03", "invalid binary representation")                            \
	X(BAD_COPY, "22P04", "bad COPY file format")                                       \
	X(BAD_ROW_COUNT_LIMIT, "2201W", "LIMIT must not be negative")                      \
	X(BAD_ROW_COUNT_OFFSET, "2201X", "OFFSET must not be negative")                    \
	X(SEQUENCE_LIMIT, "2200H", "sequence reached its limit")                           \
	X(NOT_NULL, "23502", "null value violates not-null constraint")                    \
	X(FOREIGN_KEY, "23503", "foreign key violation")                                   \
	X(UNIQUE, "23505", "duplicate key value violates unique constraint")               \
	X(CHECK, "23514", "check constraint violated")                                     \
	X(ACTIVE_TRANSACTION, "25001", "there is already a transaction in progress")       \
	X(READ_ONLY, "25006", "read-only transaction")                                     \
	X(NO_TRANSACTION, "25P01", "there is no transaction in progress")                  \
	X(IN_FAILED_TRANSACTION, "25P02", "current transaction is aborted")                \
	X(BAD_PREPARED_NAME, "26000", "prepared statement does not exist")                 \
	X(DEPENDENT_OBJECTS, "2BP01", "other objects depend on it")                        \
	X(AUTH, "28000", "not allowed")                                                    \
	X(BAD_SAVEPOINT, "3B001", "savepoint does not exist")                              \
	X(BAD_PORTAL, "34000", "portal does not exist")                                    \
	X(NO_DATABASE, "3D000", "database does not exist")                                 \
	X(NO_SCHEMA, "3F000", "schema does not exist")                                     \
	X(SERIALIZATION, "40001", "could not serialize access")                            \
	X(DEADLOCK, "40P01", "deadlock detected")                                          \
	X(SYNTAX, "42601", "syntax error")                                                 \
	X(PRIVILEGE, "42501", "insufficient privilege")                                    \
	X(CANNOT_COERCE, "42846", "cannot cast")                                           \
	X(GROUPING, "42803", "grouping error")                                             \
	X(WINDOWING, "42P20", "windowing error")                                           \
	X(BAD_FOREIGN_KEY, "42830", "invalid foreign key")                                 \
	X(BAD_NAME, "42602", "invalid name")                                               \
	X(NAME_TOO_LONG, "42622", "name too long")                                         \
	X(RESERVED_NAME, "42939", "reserved name")                                         \
	X(DATATYPE_MISMATCH, "42804", "datatype mismatch")                                 \
	X(INDETERMINATE_TYPE, "42P18", "could not determine data type")                    \
	X(WRONG_OBJECT_TYPE, "42809", "wrong object type")                                 \
	X(UNDEFINED_COLUMN, "42703", "column does not exist")                              \
	X(UNDEFINED_FUNCTION, "42883", "function or operator does not exist")              \
	X(UNDEFINED_TABLE, "42P01", "relation does not exist")                             \
	X(UNDEFINED_PARAMETER, "42P02", "parameter does not exist")                        \
	X(UNDEFINED_OBJECT, "42704", "object does not exist")                              \
	X(DUPLICATE_COLUMN, "42701", "column specified more than once")                    \
	X(DUPLICATE_CURSOR, "42P03", "duplicate cursor")                                   \
	X(DUPLICATE_PREPARED, "42P05", "prepared statement already exists")                \
	X(DUPLICATE_TABLE, "42P07", "relation already exists")                             \
	X(DUPLICATE_SCHEMA, "42P06", "schema already exists")                              \
	X(DUPLICATE_ALIAS, "42712", "duplicate alias")                                     \
	X(DUPLICATE_OBJECT, "42710", "object already exists")                              \
	X(AMBIGUOUS_COLUMN, "42702", "ambiguous column")                                   \
	X(AMBIGUOUS_FUNCTION, "42725", "ambiguous function")                               \
	X(BAD_COLUMN_REFERENCE, "42P10", "invalid column reference")                       \
	X(BAD_TABLE_DEFINITION, "42P16", "invalid table definition")                       \
	X(GENERATED_ALWAYS, "428C9", "column is generated always")                         \
	X(BAD_OBJECT_DEFINITION, "42P17", "invalid object definition")                     \
	X(PROGRAM_LIMIT, "54000", "a program limit was exceeded")                          \
	X(TOO_COMPLEX, "54001", "statement too complex")                                   \
	X(TOO_MANY_COLUMNS, "54011", "too many columns")                                   \
	X(STATE, "55000", "not in the prerequisite state")                                 \
	X(OBJECT_IN_USE, "55006", "object in use")                                         \
	X(LOCK_NOT_AVAILABLE, "55P03", "lock not available")                               \
	X(CANCELED, "57014", "canceled on request")                                        \
	X(IDLE_IN_TRANSACTION, "25P03", "idle-in-transaction timeout")                     \
	X(IDLE_SESSION, "57P05", "idle-session timeout")                                   \
	X(ADMIN_SHUTDOWN, "57P01", "engine is shutting down")                              \
	X(CRASH_SHUTDOWN, "57P02", "engine stopped")                                       \
	X(CANNOT_CONNECT_NOW, "57P03", "engine is not ready")                              \
	X(ALREADY_COMMITTED, "VT001", "the transaction was already committed")             \
	X(NO_VOTERS, "VN001", "no sign of a majority of the archives")                     \
	X(SNAPSHOT_TOO_OLD, "72000", "snapshot too old")                                   \
	X(CONFIG_FILE, "F0000", "bad configuration")                                       \
	X(NO_ATOM, "XX000", "no such atom")                                                \
	X(NO_ENGINE, "08006", "no such engine")                                            \
	X(NOT_MEMBER, "57P03", "not a member of the cluster")                              \
	X(NOT_LEADER, "57P03", "not the leader")                                           \
	X(LOG_GONE, "57P03", "that part of the log is no longer kept")                     \
	X(DUPLICATE, "XX000", "already there")

enum status {
#define X(name, sqlstate, text) ST_##name,
	STATUS_TABLE(X)
#undef X
	ST_COUNT
};

#define MUST_CHECK __attribute__((warn_unused_result))

const char *status_name(enum status st);     /* "ST_WAIT" */
const char *status_sqlstate(enum status st); /* five characters */
const char *status_text(enum status st);

/*
 * A failure as a client or an operator reads it. Filled by the function that decides; the first one
 * wins on the way up. Plain storage, no ownership: messages longer than the fields are cut.
 */
struct error {
	enum status code;   /* ST_OK: no error */
	int position;       /* 1-based character position in the statement, 0 none */
	char message[512];  /* lower case, the cause with its values */
	char detail[256];   /* "" none */
	char hint[256];     /* what to do; "" none */
	char context[256];  /* where in the input, as COPY's line; "" none */
	char schema[64];    /* error fields s, t, n, c of the wire protocol; "" none */
	char relation[64];
	char constraint[64];
	char column[64];
};

/* Sets code and message (printf), clears the rest; returns code, so `return error_set(err, ...)`. err may be NULL. */
enum status error_set(struct error *err, enum status code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void error_detail(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void error_context(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void error_hint(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void error_clear(struct error *err);

#endif
