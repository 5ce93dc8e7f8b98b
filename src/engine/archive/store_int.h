/*
 * store_int.h - what the back ends of engine/archive share: the identity of a directory and how it is judged.
 */
#ifndef VALENCE_ENGINE_ARCHIVE_STORE_INT_H
#define VALENCE_ENGINE_ARCHIVE_STORE_INT_H

#include "engine/archive/store.h"

/*
 * May a store of identity @id be opened as @cfg asks? @where names it in messages. Errors: ST_UNSUPPORTED another
 * format version; ST_STATE another cluster (P23: engines of another log id discard all, but only when told to).
 */
MUST_CHECK enum status store_identity_check(const struct store_config *cfg, const char *where,
					    const struct store_identity *id, struct error *err);

/*
 * The text form: five lines, the last a checksum of the first four. Decode errors: ST_BAD_FILE not such a file at
 * all, ST_CORRUPT damaged. A newer format decodes as far as its number, so that it can be named.
 */
#define STORE_IDENTITY_TEXT_MAX 256
size_t store_identity_encode(const struct store_identity *id, char text[STORE_IDENTITY_TEXT_MAX]);
MUST_CHECK enum status store_identity_decode(const char *text, size_t bytes, struct store_identity *id_out);

#endif
