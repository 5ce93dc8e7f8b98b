/*
 * fuzz_parse.c - any bytes as a query string: parse, bind every statement over the tables of the tests, dump the result.
 *
 * With libFuzzer (clang -fsanitize=fuzzer) the input comes from it; built with -DFUZZ_MAIN it reads the files that it is
 * given, or standard input, once each. Nothing may crash, and what deparses as a default must bind.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/sql/fake_catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct fake_catalog fake;
	struct raw_list list;
	struct error err = {0};
	struct arena arena;
	char *text;
	uint32_t i;

	if (!fake.count) {
		fake_init(&fake);
		if (fake_run(&fake, FAKE_TABLES, &err) != ST_OK)
			abort();
	}
	text = malloc(bytes + 1);
	if (bytes)
		memcpy(text, data, bytes);
	text[bytes] = 0;
	arena_init(&arena, &fake.mem);
	if (sql_parse(text, &arena, &list, &err) == ST_OK)
		for (i = 0; i < list.count; i++) {
			struct bind_context cx = fake_context(&fake, &arena, &err);
			struct stmt *s;

			(void)raw_kind(list.at[i]);
			if (sql_bind_stmt(&cx, list.at[i], &s) == ST_OK && s->query)
				(void)query_dump(s->query, &arena);
		}
	arena_fini(&arena);
	free(text);
	return 0;
}

#ifdef FUZZ_MAIN
static void run_file(FILE *f)
{
	static uint8_t data[1 << 20];
	size_t n = fread(data, 1, sizeof data, f);

	LLVMFuzzerTestOneInput(data, n);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");

		if (!f) {
			fprintf(stderr, "fuzz_parse: cannot open %s\n", argv[i]);
			return 1;
		}
		run_file(f);
		fclose(f);
	}
	if (argc == 1)
		run_file(stdin);
	return 0;
}
#endif
