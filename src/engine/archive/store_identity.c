/*
 * store_identity.c - the identity of a store, common to the back ends (engine/archive).
 */
#include "engine/archive/store_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char magic_line[] = "Valence archive\n";

enum status store_identity_check(const struct store_config *cfg, const char *where,
				 const struct store_identity *id, struct error *err)
{
	if (id->format != STORE_FORMAT_VERSION) {
		error_set(err, ST_UNSUPPORTED, "%s has format version %" PRIu32 ", this program reads version %d",
			  where, id->format, STORE_FORMAT_VERSION);
		error_hint(err, "Use the version of Valence that wrote it, or an empty directory and --join.");
		return ST_UNSUPPORTED;
	}
	if (cfg->log_id && id->log_id && id->log_id != cfg->log_id) {
		error_set(err, ST_STATE, "%s belongs to another cluster: its log id is %016" PRIx64
			  ", this cluster's is %016" PRIx64, where, id->log_id, cfg->log_id);
		error_hint(err, "Check --join and the directory; to give its data up, remove the directory.");
		return ST_STATE;
	}
	return ST_OK;
}

size_t store_identity_encode(const struct store_identity *id, char text[STORE_IDENTITY_TEXT_MAX])
{
	int n = snprintf(text, STORE_IDENTITY_TEXT_MAX,
			 "%sformat %" PRIu32 "\nlog_id %016" PRIx64 "\nvoter_id %016" PRIx64 "\n", magic_line,
			 id->format, id->log_id, id->voter_id);

	n += snprintf(text + n, STORE_IDENTITY_TEXT_MAX - (size_t)n, "crc32c %08" PRIx32 "\n",
		      crc32c(0, text, (uint64_t)n));
	return (size_t)n;
}

enum status store_identity_decode(const char *text, size_t bytes, struct store_identity *id_out)
{
	char copy[STORE_IDENTITY_TEXT_MAX + 1], again[STORE_IDENTITY_TEXT_MAX];
	struct store_identity id;
	unsigned format;

	if (bytes < sizeof magic_line - 1 || memcmp(text, magic_line, sizeof magic_line - 1) != 0)
		return ST_BAD_FILE;
	if (bytes > STORE_IDENTITY_TEXT_MAX)
		return ST_CORRUPT;
	memcpy(copy, text, bytes);
	copy[bytes] = 0;
	memset(&id, 0, sizeof id);
	if (sscanf(copy + sizeof magic_line - 1, "format %u", &format) != 1)
		return ST_CORRUPT;
	id.format = format;
	if (format != STORE_FORMAT_VERSION) {
		*id_out = id;
		return ST_OK; /* the check names the version; nothing else of it is understood here */
	}
	if (sscanf(copy + sizeof magic_line - 1, "format %u\nlog_id %" SCNx64 "\nvoter_id %" SCNx64, &format,
		   &id.log_id, &id.voter_id) != 3)
		return ST_CORRUPT;
	if (store_identity_encode(&id, again) != bytes || memcmp(again, text, bytes) != 0)
		return ST_CORRUPT;
	*id_out = id;
	return ST_OK;
}
