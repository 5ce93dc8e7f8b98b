/*
 * cover.c - the counts of the coverage points (base).
 */
#include "base/cover.h"

_Thread_local uint64_t cover_counts[COVER_COUNT];

const char *cover_name(enum cover_point point)
{
	static const char *const names[] = {
#define X(name, wanted, text) #name,
		COVER_TABLE(X)
#undef X
	};

	return names[point];
}

const char *cover_text(enum cover_point point)
{
	static const char *const texts[] = {
#define X(name, wanted, text) text,
		COVER_TABLE(X)
#undef X
	};

	return texts[point];
}

int cover_wanted(enum cover_point point)
{
	static const unsigned char wanted_[] = {
#define X(name, wanted, text) wanted,
		COVER_TABLE(X)
#undef X
	};

	return wanted_[point];
}
