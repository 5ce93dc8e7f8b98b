/* parse.c - query strings to raw statements: what has to be true of the text before and after libpg_query (engine/sql). */
#include "engine/sql/ast.h"
#include "engine/sql/query.h"

#include <string.h>

/* Length of the well-formed UTF-8 sequence at s, 0 when there is none (no overlong forms, surrogates, above U+10FFFF). */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return left >= 2 && (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if ((s[0] & 0xf0) == 0xe0) {
		if (left < 3 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if (left < 4 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

static enum status check_utf8(const char *text, size_t bytes, struct error *err)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i = 0, n, k;
	char hex[32] = "";

	while (i < bytes) {
		n = utf8_sequence(s + i, bytes - i);
		if (n) {
			i += n;
			continue;
		}
		n = s[i] >= 0xf0 && s[i] < 0xf8 ? 4 : s[i] >= 0xe0 ? 3 : s[i] >= 0xc0 ? 2 : 1;
		if (s[i] >= 0xf8)
			n = 1;
		for (k = 0; k < n && i + k < bytes; k++) {
			static const char digits[] = "0123456789abcdef";
			char *h = hex + 5 * k;

			h[0] = ' ', h[1] = '0', h[2] = 'x';
			h[3] = digits[s[i + k] >> 4], h[4] = digits[s[i + k] & 15], h[5] = 0;
		}
		return error_set(err, ST_BAD_ENCODING, "invalid byte sequence for encoding \"UTF8\":%s", hex);
	}
	return ST_OK;
}

enum status sql_parse(const char *text, struct arena *arena, struct raw_list *out, struct error *err)
{
	size_t bytes = strlen(text);
	enum status st;
	struct raw_list list = {0};

	if (bytes > AST_TEXT_MAX) {
		st = error_set(err, ST_PROGRAM_LIMIT, "query string is too long: %zu bytes", bytes);
		error_hint(err, "At most %u bytes are allowed.", AST_TEXT_MAX);
		return st;
	}
	st = check_utf8(text, bytes, err);
	if (st == ST_OK)
		st = pgq_parse(text, arena, &list.count, &list.at, err);
	if (st == ST_OK)
		*out = list;
	return st;
}

enum stmt_kind raw_kind(const struct raw_stmt *raw)
{
	static const uint8_t kinds[] = {
		[RAW_SELECT] = STMT_QUERY, [RAW_INSERT] = STMT_QUERY, [RAW_UPDATE] = STMT_QUERY, [RAW_DELETE] = STMT_QUERY,
		[RAW_EXPLAIN] = STMT_EXPLAIN, [RAW_BEGIN] = STMT_BEGIN, [RAW_COMMIT] = STMT_COMMIT,
		[RAW_ROLLBACK] = STMT_ROLLBACK, [RAW_SAVEPOINT] = STMT_SAVEPOINT, [RAW_RELEASE] = STMT_RELEASE,
		[RAW_ROLLBACK_TO] = STMT_ROLLBACK_TO, [RAW_SET_TRANSACTION] = STMT_SET_TRANSACTION, [RAW_SET] = STMT_SET,
		[RAW_RESET] = STMT_RESET, [RAW_SHOW] = STMT_SHOW, [RAW_PREPARE] = STMT_PREPARE,
		[RAW_EXECUTE] = STMT_EXECUTE, [RAW_DEALLOCATE] = STMT_DEALLOCATE, [RAW_DECLARE] = STMT_DECLARE,
		[RAW_FETCH] = STMT_FETCH, [RAW_CLOSE] = STMT_CLOSE, [RAW_COPY] = STMT_COPY,
		[RAW_CREATE_TABLE] = STMT_CREATE_TABLE, [RAW_CREATE_TABLE_AS] = STMT_CREATE_TABLE_AS,
		[RAW_CREATE_INDEX] = STMT_CREATE_INDEX, [RAW_CREATE_SEQUENCE] = STMT_CREATE_SEQUENCE,
		[RAW_ALTER_TABLE] = STMT_ALTER_TABLE, [RAW_ALTER_SEQUENCE] = STMT_ALTER_SEQUENCE, [RAW_DROP] = STMT_DROP,
		[RAW_TRUNCATE] = STMT_TRUNCATE, [RAW_VACUUM] = STMT_VACUUM, [RAW_DISCARD] = STMT_DISCARD,
		[RAW_LOCK] = STMT_LOCK, [RAW_CREATE_SCHEMA] = STMT_CREATE_SCHEMA, [RAW_COMMENT] = STMT_COMMENT,
		[RAW_UNSUPPORTED] = STMT_EMPTY,
	};

	if (raw->type == RAW_SELECT && raw->select->into)
		return STMT_CREATE_TABLE_AS;
	return (enum stmt_kind)kinds[raw->type];
}
