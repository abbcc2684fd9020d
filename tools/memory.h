/* SPDX-License-Identifier: GPL-2.0 */
/* hugepoison-inject: memory modules, and remembered pages. */
#ifndef HUGEPOISON_MEMORY_H
#define HUGEPOISON_MEMORY_H

#include "event.h"

/* dmi.c */
#define MAX_MODULES	256

struct module {
	uint16_t handle, array;
	uint32_t mb;
	char locator[48], bank[48], serial[40], part[40];
};

/* Addresses of an array of modules, or of one. */
struct range {
	bool one;
	uint16_t handle;
	uint64_t start, end;
};

struct dmi {
	char machine[33];
	struct module module[MAX_MODULES];
	size_t modules;
	struct range range[MAX_MODULES];
	size_t ranges;
};

void dmi_parse(const uint8_t *p, size_t len, struct dmi *dmi);
void dmi_read(struct dmi *dmi);
size_t dmi_modules(const struct dmi *dmi, uint64_t pfn, const struct module *list[MAX_MODULES]);
void module_text(const struct module *m, char *buf, size_t len);

/* store.c */
#define STORE_DIR	"/var/lib/hugepoison"
#define STORE_FILE	STORE_DIR "/pages"

struct remembered {
	uint64_t pfn, kb;
	char since[24];
	char *memory;
};

struct store {
	struct remembered *page;
	size_t pages;
	char machine[40];	/* "" where the firmware does not name it */
	bool damaged;		/* the readable lines of the file are here */
	bool other;		/* another machine's */
};

size_t store_parse(struct store *s, FILE *f);
int store_load(struct store *s);
void store_free(struct store *s);
int store_lock(int *fd);
int store_save(const struct store *s, int dir);
struct remembered *store_find(const struct store *s, uint64_t pfn);
bool store_add(struct store *s, uint64_t pfn, uint64_t kb, const char *since, const char *memory);
void store_forget(struct store *s, struct remembered *page);
char *memory_text(const struct dmi *dmi, uint64_t pfn);

/* remember.c */
int remember_errors(const struct bad *list, size_t count, const uint64_t *pfns, size_t nr_pfns);
int run_remember(struct options *opt);

/* dimm.c */
struct dimm {
	uint64_t pfn;
	char name[192];
	const char *source;
	size_t candidates;	/* how many modules it may be, where none is named */
};

void dimm_open(const struct bad *list, size_t count);
void dimm_find(uint64_t pfn, struct dimm *dimm);
void dimm_text(uint64_t pfn, char *buf, size_t len);

#endif /* HUGEPOISON_MEMORY_H */
