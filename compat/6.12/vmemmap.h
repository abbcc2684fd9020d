/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory errors in hugepages: what HVO leaves in struct pages, up to Linux 6.12.
 *
 * Newer releases map plain tails behind all heads.
 */
#ifndef _MM_HUGEPOISON_VMEMMAP_H
#define _MM_HUGEPOISON_VMEMMAP_H

#include <linux/mm_types.h>
#include <linux/string.h>

/**
 * hugepoison_reset_vmemmap - make a restored vmemmap page one of tail pages
 * @to: the first struct page in the page that was just filled
 *
 * HVO maps all vmemmap pages of a hugepage to the first one. Restoring copies that
 * page, whose first struct pages hold the state of the folio. Left in the copies, they
 * make every 64th page of the freed hugepage a "Bad page state", without any memory
 * error. The struct page after them is a plain tail.
 *
 * Context: Any; @to is not yet mapped at its place in the vmemmap.
 */
static inline void hugepoison_reset_vmemmap(struct page *to)
{
	const int own = sizeof(struct folio) / sizeof(struct page);
	int i;

	if (!IS_ENABLED(CONFIG_HUGEPOISON))
		return;
	for (i = 0; i < own; i++)
		memcpy(to + i, to + own, sizeof(*to));
}

#define hugepoison_reset_vmemmap	hugepoison_reset_vmemmap

#endif /* _MM_HUGEPOISON_VMEMMAP_H */
