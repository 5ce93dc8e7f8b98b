/*
 * crc32c.c - CRC-32C (Castagnoli), the checksum of every image, record and message (base).
 *
 * Where the processor has SSE4.2 its crc32 instruction is used. It takes three cycles but one can start
 * each cycle, so long inputs go as three streams side by side. Streams are joined by advancing a CRC over
 * as many zero bytes as follow it, which is linear: four table look-ups for a fixed distance.
 */
#include "base/env.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/base_int.h"

#define POLY 0x82f63b78u /* reflected */

/* slice[k][b]: the CRC of byte b followed by k zero bytes */
static uint32_t slice[8][256];

static uint32_t step_zero_byte(uint32_t crc)
{
	return slice[0][crc & 0xff] ^ crc >> 8;
}

#if defined(__x86_64__)
#define LONG_BYTES 4096u
#define SHORT_BYTES 256u

static bool have_sse42;
/* advance[b][v]: the CRC with v as its byte b and zeros elsewhere, after so many zero bytes */
static uint32_t advance_long[4][256], advance_short[4][256];

static void advance_table(uint32_t table[4][256], uint32_t zero_bytes)
{
	uint32_t bit[32];

	for (int i = 0; i < 32; i++) {
		bit[i] = 1u << i;
		for (uint32_t n = 0; n < zero_bytes; n++)
			bit[i] = step_zero_byte(bit[i]);
	}
	for (int b = 0; b < 4; b++)
		for (uint32_t v = 0; v < 256; v++) {
			uint32_t crc = 0;

			for (int i = 0; i < 8; i++)
				if (v >> i & 1)
					crc ^= bit[8 * b + i];
			table[b][v] = crc;
		}
}
#endif

/* Before main: no thread can find the tables half made. About 0.2 ms. */
static void __attribute__((constructor)) tables_init(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int i = 0; i < 8; i++)
			crc = crc & 1 ? crc >> 1 ^ POLY : crc >> 1;
		slice[0][b] = crc;
	}
	for (int k = 1; k < 8; k++)
		for (uint32_t b = 0; b < 256; b++)
			slice[k][b] = step_zero_byte(slice[k - 1][b]);
#if defined(__x86_64__)
	__builtin_cpu_init();
	have_sse42 = __builtin_cpu_supports("sse4.2");
	advance_table(advance_long, LONG_BYTES);
	advance_table(advance_short, SHORT_BYTES);
#endif
}

uint32_t crc32c_portable(uint32_t crc, const void *data, uint64_t bytes)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; bytes >= 8; p += 8, bytes -= 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		w ^= crc;
		crc = slice[7][w & 0xff] ^ slice[6][w >> 8 & 0xff] ^ slice[5][w >> 16 & 0xff] ^
		      slice[4][w >> 24 & 0xff] ^ slice[3][w >> 32 & 0xff] ^
		      slice[2][w >> 40 & 0xff] ^ slice[1][w >> 48 & 0xff] ^ slice[0][w >> 56];
	}
	for (; bytes > 0; p++, bytes--)
		crc = slice[0][(crc ^ *p) & 0xff] ^ crc >> 8;
	return ~crc;
}

#if defined(__x86_64__)
static uint32_t advance(const uint32_t table[4][256], uint64_t crc)
{
	return table[0][crc & 0xff] ^ table[1][crc >> 8 & 0xff] ^ table[2][crc >> 16 & 0xff] ^
	       table[3][crc >> 24 & 0xff];
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, 8);
	return w;
}

/* Three streams of @stream bytes each from @p on. */
__attribute__((target("sse4.2"))) static inline uint64_t three(uint64_t crc, const uint8_t *p,
							       uint32_t stream,
							       const uint32_t table[4][256])
{
	uint64_t b = 0, c = 0;

	for (uint32_t i = 0; i < stream; i += 8) {
		crc = __builtin_ia32_crc32di(crc, load64(p + i));
		b = __builtin_ia32_crc32di(b, load64(p + stream + i));
		c = __builtin_ia32_crc32di(c, load64(p + 2 * stream + i));
	}
	crc = advance(table, crc) ^ b;
	return advance(table, crc) ^ c;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t start, const void *data,
								uint64_t bytes)
{
	const uint8_t *p = data;
	uint64_t crc = (uint32_t)~start;

	for (; bytes >= 3 * LONG_BYTES; p += 3 * LONG_BYTES, bytes -= 3 * LONG_BYTES)
		crc = three(crc, p, LONG_BYTES, advance_long);
	for (; bytes >= 3 * SHORT_BYTES; p += 3 * SHORT_BYTES, bytes -= 3 * SHORT_BYTES)
		crc = three(crc, p, SHORT_BYTES, advance_short);
	for (; bytes >= 8; p += 8, bytes -= 8)
		crc = __builtin_ia32_crc32di(crc, load64(p));
	for (; bytes > 0; p++, bytes--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *p);
	return ~(uint32_t)crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, uint64_t bytes)
{
#if defined(__x86_64__)
	if (have_sse42)
		return crc32c_sse42(crc, p, bytes);
#endif
	return crc32c_portable(crc, p, bytes);
}
