/*
 * fuzz_atom_image.c - libFuzzer target: images and tails from peers and disks (tests).
 *
 * Input: uint32 bytes of the tail, the tail, the image. Lengths and the tail's CRC are made right, so that the
 * fuzzer gets behind them; the image is padded with zeros to whole steps. What is accepted is used.
 */
#include <stdint.h>
#include <string.h>

#include "../unit/atoms/exercise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tail_repair(uint8_t *tail, size_t bytes)
{
	struct tail_head head;

	if (bytes < sizeof head)
		return;
	memcpy(&head, tail, sizeof head);
	head.bytes = bytes;
	memcpy(tail, &head, sizeof head);
	head.crc = crc32c(0, tail + 8, bytes - 8);
	memcpy(tail, &head, sizeof head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t tail_bytes, image_bytes, padded;
	struct atom_store *st;
	uint8_t *tail, *image;
	struct frame *f;
	struct mem mem;

	if (size < 4 || size > 1 << 20)
		return 0;
	memcpy(&tail_bytes, data, 4);
	tail_bytes = tail_bytes % (uint32_t)(size - 3);
	image_bytes = (uint32_t)size - 4 - tail_bytes;
	padded = (image_bytes + ATOM_STEP_BYTES - 1) / ATOM_STEP_BYTES * ATOM_STEP_BYTES;
	if (!padded)
		return 0;
	mem_init(&mem, NULL, "fuzz", 0);
	tail = mem_alloc(&mem, tail_bytes + 1u);
	image = mem_alloc(&mem, padded);
	memcpy(tail, data + 4, tail_bytes);
	memcpy(image, data + 4 + tail_bytes, image_bytes);
	tail_repair(tail, tail_bytes);
	memcpy(image + offsetof(struct atom_head, size_bytes), &padded, sizeof padded);
	st = atom_store_new(&mem, 1 << 20);
	if (atom_image_check(image, padded) == ST_OK &&
	    atom_install(st, image, padded, tail, tail_bytes, UINT64_MAX - 1, &f) == ST_OK)
		exercise_frame(st, f, &mem, size);
	atom_store_free(st);
	mem_free(&mem, tail, tail_bytes + 1u);
	mem_free(&mem, image, padded);
	mem_fini(&mem);
	return 0;
}
