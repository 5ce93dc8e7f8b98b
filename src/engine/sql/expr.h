/*
 * expr.h - bound expressions: typed, resolved, with three-valued logic (engine/sql).
 *
 * Made by the binder, rewritten by the planner (columns become input slots), compiled and run by the evaluator
 * over vectors (S13). All live in arenas; immutable once bound. Depth is limited to EXPR_DEPTH_MAX when bound.
 */
#ifndef VALENCE_ENGINE_SQL_EXPR_H
#define VALENCE_ENGINE_SQL_EXPR_H

#include "engine/sql/types.h"

#define EXPR_DEPTH_MAX 500

enum expr_kind {
	EX_CONST,      /* value */
	EX_PARAM,      /* $index of the statement, 1-based */
	EX_COLUMN,     /* binder: (rel, attno, levels_up); attno 0: the row id (ctid), */
	EX_INPUT,      /* planner: column `slot` of the operator's input */
	EX_FUNC,       /* fn(args): functions, operators and casts alike */
	EX_AND, EX_OR, /* n-ary, three-valued */
	EX_NOT,
	EX_IS_NULL,    /* negate: IS NOT NULL */
	EX_IS_TRUE, EX_IS_FALSE, EX_IS_UNKNOWN, /* negate: IS NOT … */
	EX_IS_DISTINCT, /* negate: IS NOT DISTINCT FROM; fn is the type's "=" */
	EX_CASE,       /* args: when1, then1, when2, then2, …, else (always there, maybe a null) */
	EX_COALESCE,
	EX_GREATEST, EX_LEAST, /* fn is the type's "<" */
	EX_NULLIF,     /* two args; fn is "=" */
	EX_IN,         /* args[0] IN (args[1..]) by fn "="; negate */
	EX_ANY_ARRAY,  /* args[0] fn ANY (args[1] array); all: ALL */
	EX_ARRAY,      /* ARRAY[args] */
	EX_SUBQUERY,   /* sub: see enum sub_kind; args[0..] the left side for IN/ANY/ALL */
	EX_AGG,        /* binder: aggregate number `slot` of the query */
	EX_NEXTVAL,    /* sequence `rel_oid`; planner resolves it ahead (S15) */
	EX_SESSION,    /* a function of the session or the cluster: fn with sfn (now(), current_user, valence.applied_index(), …) */
	EX_DEFAULT     /* binder only: DEFAULT in VALUES of an INSERT, replaced before planning */
};
enum sub_kind { SUB_SCALAR, SUB_EXISTS, SUB_ANY, SUB_ALL, SUB_ARRAY };

struct fn_def;
struct query;

struct expr {
	uint8_t kind;        /* enum expr_kind */
	bool negate, all;
	uint8_t sub_kind;
	struct sql_type type;
	int position;        /* character position in the text, 0 unknown */
	const struct fn_def *fn;
	uint32_t arg_count;
	struct expr **args;
	union {
		struct cell value;                                     /* EX_CONST */
		struct { uint32_t rel; uint16_t attno, levels_up; };   /* EX_COLUMN */
		uint32_t slot;                                         /* EX_INPUT, EX_AGG */
		uint32_t param;                                        /* EX_PARAM */
		uint64_t rel_oid;                                      /* EX_NEXTVAL */
		struct query *sub;                                     /* EX_SUBQUERY */
	};
};

/* -- functions, operators, casts: one table (functions.c) ------------------------------------------------ */

enum fn_volatility { FN_IMMUTABLE, FN_STABLE, FN_VOLATILE };
struct eval; /* evaluator's state: arena, session hooks, error */
/*
 * A kernel: computes out for the n selected rows sel (NULL: rows 0..n-1) from args (all already have phys of their
 * declared types; constant ones allowed). Strict functions are not asked about rows with a null argument: their
 * null bits are already merged into out. out is allocated. Returns ST_OK or sets eval's error.
 */
typedef enum status (*fn_kernel)(struct eval *ev, const struct fn_def *fn, const struct vec *args,
				 uint32_t arg_count, const uint16_t *sel, uint32_t n, struct vec *out);
struct fn_def {
	const char *name;       /* "int4pl" as pg_proc; SQL calls by `sql_name` */
	const char *sql_name;   /* "upper", "+", "=", "::" for casts */
	uint16_t id;
	uint8_t arg_count;
	bool variadic_any;      /* concat, format: any number of further arguments of any type */
	bool strict;
	uint8_t volatility;
	uint32_t args[6];       /* type oids; T_NONE (0) = any type ("any", anyelement) */
	uint32_t result;        /* 0: type of the first any argument */
	fn_kernel kernel;       /* NULL: session functions, by sfn */
	uint16_t sfn;           /* enum session_fn; 0 none */
	/* For typmod-aware results and length casts, sets out typmod from args; NULL none */
	int32_t (*typmod)(const struct expr *const *args, uint32_t arg_count);
};
enum session_fn { /* answered by the session through eval hooks */
	SFN_NONE, SFN_NOW, SFN_CLOCK, SFN_CURRENT_USER, SFN_SESSION_USER, SFN_CURRENT_DATABASE, SFN_CURRENT_SCHEMA,
	SFN_CURRENT_SCHEMAS, SFN_VERSION, SFN_BACKEND_PID, SFN_CURRENT_SETTING, SFN_SET_CONFIG, SFN_CURRVAL, SFN_LASTVAL,
	SFN_SETVAL, SFN_APPLIED_INDEX, SFN_WAIT_FOR, SFN_LAST_COMMIT, SFN_TXN_OUTCOME, SFN_REMOVE_VOTER, SFN_TXID_CURRENT, SFN_RANDOM, SFN_TABLE_IS_VISIBLE,
	SFN_FORMAT_TYPE, SFN_GET_USERBYID, SFN_GET_EXPR, SFN_GET_INDEXDEF, SFN_GET_CONSTRAINTDEF, SFN_RELATION_SIZE,
	SFN_ENCODING_NAME, SFN_OBJ_DESCRIPTION, SFN_HAS_PRIVILEGE, SFN_TO_REGCLASS, SFN_REGCLASS_OUT, SFN_SLEEP, SFN_ADVISORY, SFN_BLOCKING_PIDS,
	SFN_COUNT
};

/*
 * Resolve a call as PostgreSQL does (exact match, then implicit casts, preferred types, unknown literals). types:
 * T_UNKNOWN for untyped literals and undetermined parameters. coerce_out[i]: the type that argument i must be
 * coerced to. ST_UNDEFINED_FUNCTION, ST_AMBIGUOUS_FUNCTION with PostgreSQL's words and hint.
 */
MUST_CHECK enum status fn_resolve(const char *name, const uint32_t *types, uint32_t count, const struct fn_def **fn_out,
				  uint32_t *coerce_out, struct error *err);
MUST_CHECK enum status op_resolve(const char *name, uint32_t left /* T_NONE: prefix */, uint32_t right,
				  const struct fn_def **fn_out, uint32_t coerce_out[2], struct error *err);
enum cast_context { CAST_IMPLICIT, CAST_ASSIGNMENT, CAST_EXPLICIT };
/* fn_out NULL with ST_OK: binary compatible, nothing to run. ST_CANNOT_COERCE. Text I/O conversions are functions too. */
MUST_CHECK enum status cast_find(uint32_t from, uint32_t to, enum cast_context ctx, const struct fn_def **fn_out);
/* varchar(n), char(n), numeric(p,s), timestamp(p): a function (value, typmod int4, explicit bool) or NULL none needed. */
const struct fn_def *cast_length_fn(uint32_t oid);
MUST_CHECK enum status type_common(const uint32_t *types, uint32_t count, uint32_t *out, struct error *err); /* UNION, CASE, … */

/* -- aggregates ---------------------------------------------------------------------------------------- */

struct agg_def {
	const char *sql_name;
	uint8_t arg_count;      /* 0: count(*) */
	bool variadic_any;      /* count(any) */
	uint32_t args[2];
	uint32_t result;        /* 0: as the argument */
	uint32_t state_bytes;   /* zero-initialised per group; pointers into arena allowed */
	/* Adds the selected rows: the i-th of the selection goes to the state groups[i]. Nulls per the aggregate's rule. */
	enum status (*add)(struct eval *ev, const struct agg_def *agg, void *const *groups, const struct vec *args,
			   const uint16_t *sel, uint32_t n, struct arena *arena);
	/* *null_out true: result is null */
	enum status (*final)(struct eval *ev, const struct agg_def *agg, const void *state, struct arena *arena,
			     struct cell *out);
};
MUST_CHECK enum status agg_resolve(const char *name, const uint32_t *types, uint32_t count, bool star,
				   const struct agg_def **out, uint32_t *coerce_out, struct error *err);
bool agg_exists(const char *name); /* is this name an aggregate at all? */
/* set-returning functions of FROM: generate_series, unnest, valence.check_atoms, …: resolved by the binder itself */

/* -- evaluator -------------------------------------------------------------------------------------------- */

struct eval_hooks { /* given by the executor; all may return ST_WAIT having changed nothing */
	enum status (*session_fn)(void *ctx, const struct expr *ex, const struct vec *args, uint32_t arg_count,
				  const uint16_t *sel, uint32_t n, struct arena *arena, struct vec *out,
				  struct error *err);
	void *ctx;
};
struct eval {
	struct arena *arena;              /* results live here until the caller resets it */
	const struct cell *params;        /* of the statement, as typed by the binder */
	uint32_t param_count;
	const struct eval_hooks *hooks;
	struct error *err;
	/* The evaluator's own; zero at first. */
	const struct expr *call;          /* the EX_FUNC whose kernel runs: functions of "any" read its args' types */
	uint32_t depth;
};
/*
 * Evaluate over the n rows sel (NULL: 0..n-1) of `rows` input rows; inputs[slot]. EX_INPUT, EX_CONST, EX_PARAM, EX_FUNC and the
 * logical kinds; CASE, COALESCE, AND, OR evaluate their branches only for the rows that need them. out values are
 * at the same row positions. May return a constant vector.
 */
MUST_CHECK enum status expr_eval(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
				 const uint16_t *sel, uint32_t n, struct vec *out);
/* Keeps the rows for which ex is true: sel_out may be sel. */
MUST_CHECK enum status expr_filter(struct eval *ev, const struct expr *ex, const struct vec *inputs, uint32_t rows,
				   const uint16_t *sel, uint32_t n, uint16_t *sel_out, uint32_t *n_out);
/* Without inputs: constants, parameters, stable functions. */
MUST_CHECK enum status expr_eval_one(struct eval *ev, const struct expr *ex, struct cell *out);
bool expr_is_constant(const struct expr *ex);   /* only EX_CONST and immutable functions of such */
bool expr_walk(const struct expr *ex, bool (*fn)(const struct expr *ex, void *ctx), void *ctx); /* true: stopped */

#endif
