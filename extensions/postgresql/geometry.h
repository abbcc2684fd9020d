/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Raw pages and buffers: which buffers have a part in a raw page, and which part. Before
 * PostgreSQL 16 buffers begin anywhere in a page, so a raw page may have parts of two.
 */
#ifndef PG_HUGEPOISON_GEOMETRY_H
#define PG_HUGEPOISON_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAW_PAGE	4096

/* @count buffers of @size bytes each, one after the other from @begin on */
struct buffers {
	uintptr_t begin;
	size_t size;
	int count;
};

/* What a buffer and a raw page have in common */
struct part {
	size_t in_block;	/* where it begins in the buffer, */
	size_t in_page;		/* and where in the raw page */
	size_t len;
};

/* Whether all of a raw page is in buffers. */
static inline bool in_buffers(const struct buffers *b, uintptr_t page)
{
	return page >= b->begin && page + RAW_PAGE <= b->begin + (uintptr_t)b->count * b->size;
}

/* Whether any byte of it is in one: its first and last page may have something else, too. */
static inline bool touches_buffers(const struct buffers *b, uintptr_t page)
{
	return page + RAW_PAGE > b->begin && page < b->begin + (uintptr_t)b->count * b->size;
}

/* The first buffer that has a part in a raw page of buffers, from 0; and the last one. */
static inline int first_buffer(const struct buffers *b, uintptr_t page)
{
	return (page - b->begin) / b->size;
}

static inline int last_buffer(const struct buffers *b, uintptr_t page)
{
	return (page + RAW_PAGE - 1 - b->begin) / b->size;
}

static inline struct part part_of(const struct buffers *b, uintptr_t page, int buffer)
{
	uintptr_t block = b->begin + (uintptr_t)buffer * b->size;
	uintptr_t from = block > page ? block : page;
	uintptr_t to = block + b->size < page + RAW_PAGE ? block + b->size : page + RAW_PAGE;

	return (struct part){ from - block, from - page, to - from };
}

#endif /* PG_HUGEPOISON_GEOMETRY_H */
