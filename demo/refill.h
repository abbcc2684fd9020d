/* SPDX-License-Identifier: GPL-2.0-only */
/* rowstore's lost pages are filled again. See refill.c. */
#ifndef REFILL_H
#define REFILL_H

#include <stdbool.h>
#include <stddef.h>

/* Makes the contents of the page at an address; false if it cannot. */
typedef bool (*make_page_fn)(void *page, const void *address);

/* In the first process: before it forks workers, and afterwards. */
void refill_prepare(void);
void refill_begin(void *memory, size_t len, make_page_fn make);

/* In a worker. */
void refill_await(void);

#endif
