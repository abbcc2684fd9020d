/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory errors in hugepages: what the KUnit tests share.
 */
#ifndef _MM_HUGEPOISON_TESTS_INTERNAL_H
#define _MM_HUGEPOISON_TESTS_INTERNAL_H

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/file.h>

#include "../internal.h"

#endif /* _MM_HUGEPOISON_TESTS_INTERNAL_H */
