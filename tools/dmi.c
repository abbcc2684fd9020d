// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: which memory modules a machine has, and where, as its firmware says
 * in the tables of SMBIOS (DSP0134): type 1 names the machine, 17 is a module, 19 a range
 * of addresses of an array of them, 20 one of a single module.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define TABLES		"/sys/firmware/dmi/tables/DMI"
#define TABLES_MAX	(1 << 20)

static uint16_t word_at(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t dword_at(const uint8_t *p)
{
	return word_at(p) | (uint32_t)word_at(p + 2) << 16;
}

static uint64_t qword_at(const uint8_t *p)
{
	return dword_at(p) | (uint64_t)dword_at(p + 4) << 32;
}

/**
 * struct entry - one structure of the tables
 * @p: where it is
 * @len: of its formatted part
 * @strings: behind that
 * @end: the end of all
 */
struct entry {
	const uint8_t *p;
	size_t len;
	const uint8_t *strings, *end;
};

/* The string that a byte of the structure numbers, "" if there is none. */
static void string_at(const struct entry *e, size_t at, char *buf, size_t len)
{
	const uint8_t *s = e->strings;
	size_t n;

	*buf = '\0';
	if (at >= e->len || !e->p[at])
		return;
	for (int i = 1; i < e->p[at] && s < e->end && *s; i++)
		s += strnlen((const char *)s, (size_t)(e->end - s)) + 1;
	if (s >= e->end)
		return;
	n = strnlen((const char *)s, (size_t)(e->end - s));
	while (n && s[n - 1] == ' ')
		n--;
	snprintf(buf, len, "%.*s", (int)n, (const char *)s);
	/* on a line, between others */
	for (char *c = buf; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f || *c == '"' || *c == '\\')
			*c = '?';
}

static void take_machine(struct dmi *dmi, const struct entry *e)
{
	if (e->len < 24)
		return;
	for (int i = 0; i < 16; i++)
		snprintf(dmi->machine + 2 * i, 3, "%02x", e->p[8 + i]);
}

static void take_module(struct dmi *dmi, const struct entry *e)
{
	struct module *m = &dmi->module[dmi->modules];
	uint32_t mb;

	if (e->len < 0x15 || dmi->modules == MAX_MODULES)
		return;
	mb = word_at(e->p + 0x0c);
	if (!mb)
		return;		/* an empty slot */
	if (mb == 0x7fff && e->len >= 0x20)
		mb = dword_at(e->p + 0x1c) & 0x7fffffff;
	else if (mb & 0x8000 && mb != 0xffff)
		mb = (mb & 0x7fff) >> 10;
	*m = (struct module) { .handle = word_at(e->p + 2), .array = word_at(e->p + 4), .mb = mb };
	string_at(e, 0x10, m->locator, sizeof(m->locator));
	string_at(e, 0x11, m->bank, sizeof(m->bank));
	string_at(e, 0x18, m->serial, sizeof(m->serial));
	string_at(e, 0x1a, m->part, sizeof(m->part));
	dmi->modules++;
}

/* Types 19 and 20 differ in where the larger addresses stand. */
static void take_range(struct dmi *dmi, const struct entry *e, size_t extended)
{
	struct range *r = &dmi->range[dmi->ranges];

	if (e->len < 0x0f || dmi->ranges == MAX_MODULES)
		return;
	*r = (struct range) { .one = *e->p == 20, .handle = word_at(e->p + 0x0c) };
	if (dword_at(e->p + 4) != UINT32_MAX) {
		r->start = (uint64_t)dword_at(e->p + 4) << 10;
		r->end = ((uint64_t)dword_at(e->p + 8) + 1) << 10;
	} else if (e->len >= extended + 16) {
		r->start = qword_at(e->p + extended);
		r->end = qword_at(e->p + extended + 8) + 1;
	}
	if (r->end > r->start)
		dmi->ranges++;
}

static void take(struct dmi *dmi, const struct entry *e)
{
	switch (*e->p) {
	case 1:
		take_machine(dmi, e);
		break;
	case 17:
		take_module(dmi, e);
		break;
	case 19:
		take_range(dmi, e, 0x0f);
		break;
	case 20:
		take_range(dmi, e, 0x13);
		break;
	}
}

/**
 * dmi_parse - read the tables
 * @p: the tables
 * @len: how long they are
 * @dmi: what they say
 */
void dmi_parse(const uint8_t *p, size_t len, struct dmi *dmi)
{
	const uint8_t *end = p + len;

	*dmi = (struct dmi) { 0 };
	while (end - p >= 4 && p[1] >= 4 && p[1] <= end - p && *p != 127) {
		struct entry e = { p, p[1], p + p[1], end };

		take(dmi, &e);
		/* strings end with an empty one; where there are none with two */
		for (p = e.strings; end - p >= 2 && (p[0] || p[1]);)
			p++;
		p += 2;
	}
}

/**
 * dmi_read - read the tables of this machine
 * @dmi: what they say; nothing where there are none
 */
void dmi_read(struct dmi *dmi)
{
	FILE *f = fopen(TABLES, "re");
	uint8_t *buf = f ? malloc(TABLES_MAX) : NULL;
	size_t len = buf ? fread(buf, 1, TABLES_MAX, f) : 0;

	dmi_parse(buf, len, dmi);
	free(buf);
	if (f)
		fclose(f);
}

/* Of a single module if the firmware says so much, else of an array, else all. */
static bool covers(const struct dmi *dmi, uint64_t at, const struct module *m, bool one, bool any)
{
	for (size_t i = 0; i < dmi->ranges; i++) {
		const struct range *r = &dmi->range[i];

		if (r->one != one || at < r->start || at >= r->end)
			continue;
		if (any || r->handle == (one ? m->handle : m->array))
			return true;
	}
	return false;
}

/**
 * dmi_modules - the modules that a page frame may be on
 * @dmi: what dmi_read() found
 * @pfn: the page frame
 * @list: where to put them
 *
 * Return: how many they are.
 */
size_t dmi_modules(const struct dmi *dmi, uint64_t pfn, const struct module *list[MAX_MODULES])
{
	uint64_t at = pfn << PAGE_SHIFT;
	bool one = covers(dmi, at, NULL, true, true);
	bool array = covers(dmi, at, NULL, false, true);
	size_t n = 0;

	for (size_t i = 0; i < dmi->modules; i++) {
		const struct module *m = &dmi->module[i];

		if (one || array ? covers(dmi, at, m, one, false) : true)
			list[n++] = m;
	}
	return n;
}

/**
 * module_text - a module in words that tell it from each other one
 * @m: the module
 * @buf: where to put them
 * @len: how much fits there
 */
void module_text(const struct module *m, char *buf, size_t len)
{
	snprintf(buf, len, "%s%s%s serial %s part %s %" PRIu32 "M", m->locator,
		 *m->bank ? " " : "", m->bank, *m->serial ? m->serial : "-",
		 *m->part ? m->part : "-", m->mb);
}
