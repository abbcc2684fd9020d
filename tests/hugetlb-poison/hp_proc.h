/* SPDX-License-Identifier: GPL-2.0-only */
/* A process's mappings in /proc. */
#ifndef HP_PROC_H
#define HP_PROC_H

#include <stdbool.h>
#include <sys/types.h>

/* One line of /proc/PID/maps, with what smaps says below it. */
struct hp_vma {
	char *start, *end;
	unsigned long offset;	/* in the file, in bytes */
	char perms[8];
	char text[2048];
};

int hp_vma_at(pid_t pid, const void *addr, struct hp_vma *vma);
long hp_vma_kb(const struct hp_vma *vma, const char *field);
bool hp_vma_flag(const struct hp_vma *vma, const char *flag);
int hp_count_vmas(pid_t pid, const char *from, const char *to);

long hp_status_kb(pid_t pid, const char *field);
long hp_rollup_kb(pid_t pid, const char *field);
long hp_numa_maps(pid_t pid, const void *addr, const char *field);

/* Bits of /proc/PID/pagemap, see Documentation/admin-guide/mm/pagemap.rst */
#define HP_PM_SOFT_DIRTY	(1UL << 55)
#define HP_PM_EXCLUSIVE		(1UL << 56)
#define HP_PM_FILE		(1UL << 61)
#define HP_PM_PRESENT		(1UL << 63)
#define HP_PM_PFN		((1UL << 55) - 1)

int hp_pagemap(pid_t pid, const void *addr, unsigned long nr, unsigned long *entries);

#endif /* HP_PROC_H */
