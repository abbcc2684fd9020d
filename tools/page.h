/* SPDX-License-Identifier: GPL-2.0 */
/* hugepoison-inject: raw pages, their hugepages, and how they are found. */
#ifndef HUGEPOISON_PAGE_H
#define HUGEPOISON_PAGE_H

#include <signal.h>

#include "options.h"

/**
 * struct page - a raw page and the hugepage around it
 * @known: false while only the pool is known, because the kernel will choose
 * @huge: false for a page that is in no hugepage; then @head is @pfn, @pages 1
 * @pfn: the raw page
 * @head: the hugepage's first page
 * @pages: how many base pages the hugepage has
 * @node: its NUMA node, ANY_NODE if unknown
 * @poisoned: the hugepage was poisoned when it was looked up
 */
struct page {
	bool known;
	bool huge;
	uint64_t pfn;
	uint64_t head;
	uint64_t pages;
	int node;
	bool poisoned;
};

/* Our own mapping of the target. */
struct mapping {
	void *addr;		/* where the first hugepage starts, NULL if none */
	size_t len;
	void *attached;		/* shmat()'s address, NULL for a file */
};

struct signal_seen {
	bool seen;
	int code;
	uintptr_t addr;
	int lsb;
};

/* hugepage.c */
int hugepage_sizes(uint64_t *bytes, int max);
int hugepage_open(void);
bool size_known(uint64_t bytes);
uint64_t default_size(void);
void known_sizes(char *buf, size_t len);
bool page_flags(uint64_t pfn, uint64_t *flags);
bool page_poisoned(uint64_t pfn);
bool next_marked(uint64_t *pfn);
uint64_t count_poisoned(const struct page *page);
int node_of(uint64_t pfn);
int page_lookup(uint64_t pfn, struct page *page);
void page_assume(uint64_t pfn, uint64_t pages, struct page *page);
const char *state_name(enum state state);
enum state page_state(const struct page *page);
bool page_unmapped(const struct page *page);
uint64_t last_pfn(void);

enum scan { SCAN_FREE, SCAN_POISONED, SCAN_POISONED_FREE };
int scan_hugepages(enum scan what, uint64_t size, int node, struct page *found, int max);

/* probe.c */
enum probe { PROBE_PRESENT, PROBE_HOLE, PROBE_POISONED, PROBE_FAILED };

int probe_page(void *addr, size_t size, enum probe *result);

/* pagemap.c */
#define PM_PRESENT	(1ULL << 63)
#define PM_SWAPPED	(1ULL << 62)
#define PM_PFN_MASK	((1ULL << 55) - 1)

int read_pagemap(int dirfd, const char *path, uint64_t addr, uint64_t *entry, size_t count);

/* locate.c */
int find_poisoned(enum scan what, uint64_t size, int node, struct page *page);
int find_mapped(struct mapping *map, size_t size, uint64_t inside, const char *name,
		struct page *page);
int find_in_file(const struct options *opt, int fd, const char *name, uint64_t offset,
		 struct page *page, struct mapping *map);
int size_of_file(int fd, const char *name, uint64_t *size, uint64_t *length);
int map_file(int fd, const char *name, uint64_t start, size_t len, struct mapping *map);
uint64_t place_of(const struct options *opt, uint64_t offset, uint64_t size);

/* target.c */
int target_find(const struct options *opt, struct page *page, struct mapping *map);
int target_pick_page(const struct options *opt, struct page *page);
int target_map(const struct options *opt, struct mapping *map, uint64_t *size);
void target_unmap(struct mapping *map);
void target_name(const struct options *opt, FILE *f);
const char *state_mismatch(const struct options *opt, const struct page *page);
long long free_hugepages(uint64_t size, int node);
uint64_t random_number(void);

/* process.c */
struct vma {
	uint64_t start, end, offset;
	unsigned int major, minor;
	uint64_t inode;
	uint64_t page_size;	/* 0: not looked up */
	bool shared;
	char name[64];
};

bool parse_vma(const char *line, struct vma *vma);
int process_open(uint64_t pid);
size_t most_vmas(void);
int process_vmas(uint64_t pid, struct vma **vmas, size_t *count);
int process_entries(uint64_t pid, uint64_t addr, uint64_t *entry, size_t count);
int process_map_file(uint64_t pid, const struct vma *vma);
int process_hugepages(uint64_t pid, uint64_t **addr, size_t *count);
int nth_hugepage(const struct options *opt, uint64_t *at);
bool process_pins(uint64_t pid);
int find_pid(const struct options *opt, struct page *page, struct mapping *map);

/* touch.c */
bool touch(const void *addr, struct signal_seen *sig);
void note_signal(struct signal_seen *sig, const siginfo_t *info);

#endif /* HUGEPOISON_PAGE_H */
