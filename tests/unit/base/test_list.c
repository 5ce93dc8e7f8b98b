/*
 * test_list.c - intrusive lists and growable arrays.
 */
#include "base/list.h"

#include <CUnit/CUnit.h>
#include <string.h>

#include "../unit.h"

struct item {
	char name;
	struct list link;
};

static const char *names(struct list *head)
{
	static char text[32];
	size_t n = 0;

	LIST_FOREACH(it, head)
		text[n++] = CONTAINER_OF(it, struct item, link)->name;
	text[n] = '\0';
	return text;
}

/* Items come in the order of their insertion at either end or before another. */
static void test_list_order(void)
{
	struct item a = {'a', {0}}, b = {'b', {0}}, c = {'c', {0}}, d = {'d', {0}};
	struct list head;

	list_init(&head);
	CU_ASSERT(list_empty(&head));
	CU_ASSERT_PTR_NULL(list_first(&head));
	list_push_back(&head, &b.link);
	list_push_back(&head, &d.link);
	list_push_front(&head, &a.link);
	list_insert_before(&d.link, &c.link);
	CU_ASSERT_STRING_EQUAL(names(&head), "abcd");
	CU_ASSERT_PTR_EQUAL(list_first(&head), &a.link);
	list_remove(&c.link);
	CU_ASSERT_STRING_EQUAL(names(&head), "abd");
	list_remove(&c.link); /* again: harmless */
	CU_ASSERT_STRING_EQUAL(names(&head), "abd");
	list_push_back(&head, &c.link);
	CU_ASSERT_STRING_EQUAL(names(&head), "abdc");
}

/* The safe walk allows the current item to be removed. */
static void test_list_remove_in_walk(void)
{
	struct item items[5];
	struct list head;

	list_init(&head);
	for (int i = 0; i < 5; i++) {
		items[i].name = (char)('a' + i);
		list_push_back(&head, &items[i].link);
	}
	LIST_FOREACH_SAFE(it, tmp, &head) {
		struct item *item = CONTAINER_OF(it, struct item, link);

		if (item->name % 2) /* a, c, e */
			list_remove(it);
	}
	CU_ASSERT_STRING_EQUAL(names(&head), "bd");
}

/* A vector keeps what was pushed, in order, and gives all of its memory back. */
static void test_list_vec(void)
{
	VEC(int) v = {0};
	struct mem m;

	mem_init(&m, NULL, "m", 0);
	for (int i = 0; i < 1000; i++)
		VEC_PUSH(&m, &v, i * 3);
	CU_ASSERT_EQUAL(v.count, 1000);
	for (int i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(v.at[i], i * 3);
	CU_ASSERT_EQUAL(m.used_bytes, v.cap * sizeof(int));
	VEC_FINI(&m, &v);
	mem_fini(&m);
}

void suite_base_list(void)
{
	CU_pSuite s = CU_add_suite("base_list", NULL, NULL);

	CU_add_test(s, "order", test_list_order);
	CU_add_test(s, "remove_in_walk", test_list_remove_in_walk);
	CU_add_test(s, "vec", test_list_vec);
}
