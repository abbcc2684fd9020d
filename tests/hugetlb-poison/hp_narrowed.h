/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A shared mapping with an error in one of its hugepages, containment page:
 * whatever happens to it, one raw page is lost and nothing else.
 */
#ifndef HP_NARROWED_H
#define HP_NARROWED_H

#include "hp.h"

struct hp_narrowed {
	struct hp_test test;
	struct hp_map map;
	unsigned long victim;	/* which hugepage */
	unsigned long raw;	/* the raw page's offset in the mapping, in bytes */
	unsigned long pfn;	/* of the raw page */
	int node;
	unsigned int seed;	/* of the stamps in the first hugepage */
	bool hit;		/* there is an error */
};

int hp_narrowed_make(struct hp_narrowed *n, enum hp_backing backing,
		     unsigned long size, unsigned long nr);
int hp_narrowed_stamp(struct hp_narrowed *n);
int hp_narrowed_hit(struct hp_narrowed *n);
int hp_narrowed_end(struct hp_narrowed *n);

char *hp_narrowed_victim(const struct hp_narrowed *n);
char *hp_narrowed_raw(const struct hp_narrowed *n);
long hp_narrowed_wrong(const struct hp_narrowed *n);
long hp_narrowed_wrong_at(const struct hp_narrowed *n, char *base);
int hp_narrowed_populate(const struct hp_narrowed *n);
bool hp_is_hugetlb(const char *addr);
int hp_signal_of(char *addr, enum hp_access access);
bool hp_all_zero(const char *page);

#endif /* HP_NARROWED_H */
