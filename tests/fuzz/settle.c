// SPDX-License-Identifier: GPL-2.0-only
/* Checks that a round leaves nothing behind. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define CGROUPS		"/sys/fs/cgroup/fuzz"
#define COMMIT_SLACK	1024		/* kB: of the fuzzer itself */
#define PATIENCE	20000		/* ms */

/* --- cgroups ----------------------------------------------------------------- */

static int cgroup_write(int index, const char *file, unsigned long value)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUPS "/%d/%s", index, file);
	return hp_write(path, "%lu", value);
}

static long cgroup_read(int index, const char *file)
{
	return hp_read_long(CGROUPS "/%d/%s", index, file);
}

/* One for a process, with limits for some of them. */
int cgroup_make(int index, struct rng *rng)
{
	char path[64];

	mkdir(CGROUPS, 0755);
	hp_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +hugetlb +pids");
	hp_write(CGROUPS "/cgroup.subtree_control", "+memory +hugetlb +pids");
	snprintf(path, sizeof(path), CGROUPS "/%d", index);
	if (mkdir(path, 0755))
		return -errno;
	cgroup_write(index, "pids.max", 100);
	if (rnd(rng, 2))
		cgroup_write(index, "memory.max", (24 + rnd(rng, 64)) << 20);
	if (!rnd(rng, 3))
		cgroup_write(index, "hugetlb.2MB.max", (2 + rnd(rng, 16)) << 21);
	if (!rnd(rng, 4))
		cgroup_write(index, "hugetlb.2MB.rsvd.max", (4 + rnd(rng, 16)) << 21);
	return 0;
}

/* More or less for a process, whatever it has by now. */
int cgroup_limit(int index, unsigned long arg)
{
	unsigned long mb = 16 + arg / 8 % 80;

	switch (arg % 4) {
	case 0:
		return cgroup_write(index, "memory.max", mb << 20);
	case 1:
		return cgroup_write(index, "memory.reclaim", mb << 20);
	case 2:
		return cgroup_write(index, "hugetlb.2MB.max", mb / 4 << 21);
	default:
		return cgroup_write(index, "hugetlb.2MB.rsvd.max", mb / 4 << 21);
	}
}

void cgroup_enter(int index)
{
	char path[64];

	snprintf(path, sizeof(path), CGROUPS "/%d/cgroup.procs", index);
	if (hp_write(path, "%d", getpid()))
		finding("cannot enter %s", path);
}

static bool cgroup_is_empty(int index, bool tell)
{
	static const char *const files[] = {
		"hugetlb.2MB.current", "hugetlb.2MB.rsvd.current", "hugetlb.1GB.current",
		"hugetlb.1GB.rsvd.current", "pids.current",
	};
	bool empty = true;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		long value = cgroup_read(index, files[i]);

		if (value <= 0)
			continue;
		empty = false;
		if (tell)
			finding("cgroup %d: %s is %ld, nobody is in it", index, files[i], value);
	}
	return empty;
}

/* Memory of the kernel and the page cache stays charged, and is given back on demand. */
static bool cgroup_holds_memory(int index, bool tell)
{
	char path[128], text[4096];
	const char *at;
	long anon;

	snprintf(path, sizeof(path), CGROUPS "/%d/memory.stat", index);
	if (hp_read_text(path, text, sizeof(text)) <= 0)
		return false;
	at = strstr(text, "anon ");
	anon = at ? strtol(at + 5, NULL, 10) : 0;
	if (anon > 0 && tell)
		finding("cgroup %d: %ld bytes of anonymous memory, nobody is in it", index, anon);
	return anon > 0;
}

/* It is empty, and goes. */
void cgroup_check(int index)
{
	char path[64];

	for (int ms = 0; ms < PATIENCE; ms += 50) {
		if (cgroup_is_empty(index, false) && !cgroup_holds_memory(index, false))
			break;
		usleep(50 * 1000);
	}
	cgroup_is_empty(index, true);
	cgroup_holds_memory(index, true);
	snprintf(path, sizeof(path), CGROUPS "/%d", index);
	if (rmdir(path))
		finding("cgroup %d does not go: %s", index, strerror(errno));
}

/* --- records -------------------------------------------------------------------- */

struct bad {
	unsigned long pfn;
	char state[16];
};

/* Returns how many lines /proc/hugepoison/bad_pages has, -1 without such a file. */
static int read_bad(struct bad *bad, int most)
{
	FILE *file = fopen("/proc/hugepoison/bad_pages", "re");
	char line[512];
	int nr = 0;

	if (!file)
		return -1;
	while (nr < most && fgets(line, sizeof(line), file))
		nr += sscanf(line, "%lx %*u %*u %15s", &bad[nr].pfn, bad[nr].state) == 2;
	fclose(file);
	return nr;
}

static bool is_at_rest(const struct bad *bad, int nr)
{
	for (int i = 0; i < nr; i++)
		if (strcmp(bad[i].state, "released"))
			return false;
	return true;
}

static bool is_listed(const struct bad *bad, int nr, unsigned long pfn)
{
	for (int i = 0; i < nr; i++)
		if (bad[i].pfn == pfn)
			return true;
	return false;
}

static bool is_repeated(unsigned int which)
{
	for (unsigned int i = 0; i < which; i++)
		if (fz->injected[i] == fz->injected[which])
			return true;
	return false;
}

/* Errors that hit what was a base page by then: no record of ours. */
static long count_others(const struct bad *bad, int nr)
{
	long others = 0;

	for (unsigned int i = 0; i < fz->nr_injected && i < INJECTED; i++)
		others += !is_repeated(i) && !is_listed(bad, nr, fz->injected[i]) &&
			  hp_pageflags(fz->injected[i]) & HP_KPF_HWPOISON;
	return others;
}

/*
 * Nobody has a hugepage any more: each error costs its page, and that is what
 * HardwareCorrupted says.
 */
static void check_records(struct bad *bad, int most)
{
	long kb = 0, pages = 0;
	int nr = 0;

	for (int ms = 0; ms < PATIENCE; ms += 100) {
		nr = read_bad(bad, most);
		if (nr < 0)
			return;
		kb = hp_meminfo_kb("HardwareCorrupted");
		pages = nr + count_others(bad, nr);
		if (is_at_rest(bad, nr) && kb == pages * 4)
			return;
		usleep(100 * 1000);
	}
	for (int i = 0; i < nr; i++)
		if (strcmp(bad[i].state, "released"))
			finding("%#lx is %s, nobody has a hugepage", bad[i].pfn, bad[i].state);
	if (kb != pages * 4)
		finding("HardwareCorrupted is %ld kB: %d pages are bad, %ld outside hugepages",
			kb, nr, pages - nr);
}

/* Known errors are undone, and what was soft-offlined. */
static void undo(struct bad *bad, int most)
{
	for (int ms = 0; ms < PATIENCE && hp_meminfo_kb("HardwareCorrupted"); ms += 50) {
		int nr = read_bad(bad, most);

		for (int i = 0; i < nr; i++)
			hp_unpoison(bad[i].pfn);
		for (unsigned int i = 0; i < fz->nr_injected && i < INJECTED; i++)
			if (hp_pageflags(fz->injected[i]) & HP_KPF_HWPOISON)
				hp_unpoison(fz->injected[i]);
		if (ms)
			usleep(50 * 1000);
	}
}

/* --- the round ------------------------------------------------------------------- */

void settle_begin(struct settled *before)
{
	hp_read_state(&before->state);
	before->committed = hp_meminfo_kb("Committed_AS");
}

static void check_committed(long before)
{
	long now = 0;

	for (int ms = 0; ms < 5000; ms += 100) {
		now = hp_meminfo_kb("Committed_AS");
		if (labs(now - before) <= COMMIT_SLACK)
			return;
		usleep(100 * 1000);
	}
	finding("Committed_AS: %ld kB before, %ld kB after", before, now);
}

/*
 * Errors, heals and migration may move hugepages from node to node, but make no pool
 * larger. Only the hand does that, which may have been ended in the middle of it. To
 * be looked at before hp_reset_pools() mends it.
 */
static void check_pool(const struct hp_state *before)
{
	if (!hp_grown_for_good(before))
		return;
	fflush(stdout);
	finding("a pool is larger than before, and nobody has resized it");
}

int set_overcommit(unsigned long nr)
{
	return hp_write("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages",
			"%lu", nr);
}

/* For a finding: a sum over nodes does not show where a hugepage went. */
static void show_pool(const struct hp_state *before)
{
	struct hp_state now;

	hp_read_state(&now);
	say("the hand has %sresized the pool", fz->pool_changed ? "" : "not ");
	for (int node = 0; node < hp_nodes(); node++)
		say("node %d: %ld hugepages before, now %ld, %ld free, %ld surplus", node,
		    before->v[HP_NR][0][node + 1], now.v[HP_NR][0][node + 1],
		    now.v[HP_FREE][0][node + 1], now.v[HP_SURPLUS][0][node + 1]);
}

void settle_end(const struct settled *before)
{
	const int most = 2 * INJECTED;
	struct bad *bad = calloc(most, sizeof(*bad));

	hp_set_containment("page");
	hp_set_replace(true);
	set_overcommit(0);
	check_records(bad, most);
	undo(bad, most);
	free(bad);
	if (!fz->pool_changed)
		check_pool(&before->state);
	hp_reset_pools(&before->state);
	fflush(stdout);
	if (hp_check(&before->state, HP_GAUGES)) {
		fflush(stdout);
		finding("the counters above are not what they were");
	}
	check_committed(before->committed);
	if (fz->findings)
		show_pool(&before->state);
}
