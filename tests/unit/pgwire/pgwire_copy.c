/*
 * pgwire_copy.c - the tests' own copy of pgwire, which calls fake_sql.c (tests).
 */
#include "fake_sql.h"

#include "engine/pgwire/conn.c"
#include "engine/pgwire/copy.c"
#include "engine/pgwire/extended.c"
#include "engine/pgwire/rows.c"
#include "engine/pgwire/run.c"
#include "engine/pgwire/server.c"
#include "engine/pgwire/startup.c"
#include "engine/pgwire/write.c"
