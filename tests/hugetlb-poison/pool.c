// SPDX-License-Identifier: GPL-2.0-only
/*
 * The effects of an error on its pool: stories, each of the pool's counters
 * before the error, after it, and when the hugepage's last user has left.
 *
 * They run on any kernel; on ours each counter is compared with what it should
 * be. scripts/pool runs them on the stock kernel and on ours, and puts the
 * answers side by side.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <numaif.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hp.h"

#define SUBPAGE		5		/* the raw page of a hugepage */
#define STABLE_MS	300
#define OFFLINE_SECONDS	5
#define MOUNT		"/tmp/hugetlb-poison.pool"
#define CGROUPS		"/sys/fs/cgroup"
#define CGROUP		CGROUPS "/hp-pool"
#define FAIL		"/sys/kernel/debug/fail_page_alloc/"
#define SPOILED		3		/* exit status */

enum stage { BEFORE, AFTER, LEFT, STAGES };

struct scene;

/* A story. The counters are nr/free/resv/surplus of the hugepage size, on all nodes. */
struct story {
	const char *name, *what;
	unsigned long size;
	int pool[2];			/* hugepages on nodes 0 and 1 */
	int overcommit;
	enum hp_backing backing;
	long nr;			/* hugepages mapped; 0: none */
	bool touch;			/* before the error; else after it */
	void (*prepare)(struct scene *scene);
	int (*hit)(struct scene *scene);
	void (*leave)(struct scene *scene);
	void (*tell)(struct scene *scene, char *text, size_t len);
	const char *want[STAGES];
	const char *told;		/* what tell() is to say */
	bool at_once;			/* touch right after the error, not later */
	bool late;			/* and that when all have left */
	bool stays;			/* the error cannot be undone */
	int sigbus;			/* touches that fail after the error */
	long bad_kb;			/* HardwareCorrupted, after the error */
};

struct scene {
	const struct story *story;
	struct hp_map map;
	pid_t user;			/* maps in place of this process */
	unsigned long pfn;		/* of the raw page, of some stories */
	long corrupted;			/* kB, before the error */
	int sigbus;
	char state[STAGES][64];
	long bad_kb[STAGES];
	char told[128];
};

static bool ours;

/* --- the pool ------------------------------------------------------------ */

static long pool(const char *file, unsigned long size)
{
	return hp_read_long("/sys/kernel/mm/hugepages/hugepages-%lukB/%s", size >> 10, file);
}

static long node_has(unsigned long size, int node)
{
	struct hp_state now;

	hp_read_state(&now);
	return *hp_at(&now, HP_NR, size, node);
}

static void set_overcommit(unsigned long size, long nr)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%lukB/nr_overcommit_hugepages", size >> 10);
	hp_write(path, "%ld", nr);
}

static void print_pool(const struct scene *scene, char *text, size_t len)
{
	static const char * const files[] = {
		"nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages",
	};
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (i)
			text[at++] = '/';
		at += snprintf(text + at, len - at, "%ld", pool(files[i], scene->story->size));
	}
}

static long corrupted(void)
{
	struct hp_state now;

	hp_read_state(&now);
	return *hp_at(&now, HP_CORRUPTED, 0, HP_ALL);
}

/* Wait for what should be, or for what stays, and note it. */
static void note(struct scene *scene, enum stage stage)
{
	const char *want = ours ? scene->story->want[stage] : NULL;
	char now[64] = "", last[64] = "";
	int stable = 0;

	for (int ms = 0; ms < HP_PATIENCE_MS; ms += 50) {
		print_pool(scene, now, sizeof(now));
		stable = strcmp(now, last) ? 0 : stable + 50;
		if (want ? !strcmp(now, want) && stable : stable >= STABLE_MS)
			break;
		memcpy(last, now, sizeof(last));
		usleep(50 * 1000);
	}
	memcpy(scene->state[stage], now, sizeof(now));
	scene->bad_kb[stage] = corrupted() - scene->corrupted;
}

/* Returns whether the pools are as the story wants them. */
static bool make_pools(const struct story *story)
{
	static const unsigned long sizes[] = { HP_2M, HP_1G };

	for (int i = 0; i < HP_SIZES; i++) {
		set_overcommit(sizes[i], 0);
		for (int node = 0; node < 2; node++)
			hp_set_pool(sizes[i], node,
				    sizes[i] == story->size ? story->pool[node] :
				    sizes[i] == HP_1G ? 1 : 0);
	}
	set_overcommit(story->size, story->overcommit);
	for (int node = 0; node < 2; node++)
		if (node_has(story->size, node) != story->pool[node])
			return false;
	return !pool("resv_hugepages", story->size) && !pool("surplus_hugepages", story->size) &&
	       pool("free_hugepages", story->size) == pool("nr_hugepages", story->size);
}

/* --- the error ------------------------------------------------------------- */

static int hit_free_on(struct scene *scene, int node)
{
	unsigned long head = hp_find_free(scene->story->size, node);

	return head == HP_NO_PFN ? -ENOENT : hp_inject(head + SUBPAGE);
}

static int hit_free(struct scene *scene)
{
	return hit_free_on(scene, 1);
}

static int hit_free_0(struct scene *scene)
{
	return hit_free_on(scene, 0);
}

static int hit_used(struct scene *scene)
{
	scene->pfn = hp_pfn(scene->map.addr) + SUBPAGE;
	return hp_inject(scene->pfn);
}

static int hit_used_5(struct scene *scene)
{
	unsigned long head = hp_pfn(scene->map.addr);
	int ret = hp_inject(head);

	for (int i = 1; i < 5; i++)
		hp_inject(head + i * 127 + 3);
	return ret;
}

static int soft_offline(unsigned long pfn)
{
	hp_note_poisoned(pfn);
	return hp_write("/sys/devices/system/memory/soft_offline_page", "%#lx", pfn * HP_BASE);
}

static int retire_free(struct scene *scene)
{
	unsigned long head = hp_find_free(scene->story->size, 1);

	return head == HP_NO_PFN ? -ENOENT : soft_offline(head + SUBPAGE);
}

static int retire_used(struct scene *scene)
{
	return soft_offline(hp_pfn(scene->map.addr) + SUBPAGE);
}

/* --- its users leave --------------------------------------------------------- */

static void leave_unmap(struct scene *scene)
{
	if (scene->map.addr)
		hp_map_free(&scene->map);
}

static void leave_punch(struct scene *scene)
{
	fallocate(scene->map.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		  scene->story->size);
}

static void leave_truncate(struct scene *scene)
{
	if (ftruncate(scene->map.fd, 0))
		printf("# truncate: %s\n", strerror(errno));
}

static void leave_exit(struct scene *scene)
{
	kill(scene->user, SIGKILL);
	waitpid(scene->user, NULL, 0);
	scene->user = 0;
}

/* No memory for hugepages, from now on. Where nobody refills a pool there is no need. */
static void no_memory(struct scene *scene)
{
	(void)scene;
	hp_write(FAIL "ignore-gfp-highmem", "N");
	hp_write(FAIL "ignore-gfp-wait", "N");
	hp_write(FAIL "verbose", "0");
	hp_write(FAIL "min-order", "9");
	hp_write(FAIL "times", "-1");
	hp_write(FAIL "probability", "100");
}

static void leave_no_memory(struct scene *scene)
{
	(void)scene;
	hp_write(FAIL "probability", "0");
}

/* --- what else there is to say ------------------------------------------------ */

static void tell_nodes(struct scene *scene, char *text, size_t len)
{
	unsigned long size = scene->story->size;

	snprintf(text, len, "nodes %ld+%ld", node_has(size, 0), node_has(size, 1));
}

static void tell_mmap(struct scene *scene, char *text, size_t len)
{
	struct hp_map more;
	int ret = hp_map(&more, HP_MEMFD, scene->story->size, 1);

	hp_map_free(&more);
	snprintf(text, len, "one more mmap: %s", ret ? strerror(-ret) : "granted");
}

static void tell_mount(struct scene *scene, char *text, size_t len)
{
	struct statfs fs;

	(void)scene;
	if (statfs(MOUNT, &fs))
		snprintf(text, len, "%s", strerror(errno));
	else
		snprintf(text, len, "mount: %ld of %ld free", (long)fs.f_bfree, (long)fs.f_blocks);
}

static void tell_cgroup(struct scene *scene, char *text, size_t len)
{
	(void)scene;
	snprintf(text, len, "charged: %ld, reserved: %ld",
		 hp_read_long(CGROUP "/hugetlb.2MB.current"),
		 hp_read_long(CGROUP "/hugetlb.2MB.rsvd.current"));
}

/* Takes the memory block with the raw page offline; a kernel may try for ever. */
static void tell_offline(struct scene *scene, char *text, size_t len)
{
	int ret = hp_try_offline(hp_block(scene->pfn), OFFLINE_SECONDS);

	snprintf(text, len, "offlining its memory: %s", ret ? "refused" : "done");
}

static void tell_placed(struct scene *scene, char *text, size_t len)
{
	char *addr = scene->map.addr;
	size_t at = snprintf(text, len, "placed on");
	int on[2] = { 0, 0 };

	for (long i = 0; i < scene->story->nr; i++)
		on[hp_pfn_node(hp_pfn(addr + i * scene->story->size)) == 1]++;
	snprintf(text + at, len - at, " %d+%d", on[0], on[1]);
}

/* --- how it comes about --------------------------------------------------------- */

static void no_replacing(struct scene *scene)
{
	(void)scene;
	if (ours)
		hp_set_replace(false);
}

static void mount_pool(struct scene *scene, const char *options)
{
	struct hp_map *map = &scene->map;

	mkdir(MOUNT, 0700);
	if (mount("none", MOUNT, "hugetlbfs", 0, options))
		printf("# mount: %s\n", strerror(errno));
	*map = (struct hp_map) { .backing = HP_FILE, .size = HP_2M, .nr = scene->story->nr };
	map->fd = open(MOUNT "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	unlink(MOUNT "/file");
	if (ftruncate(map->fd, map->nr * HP_2M))
		printf("# truncate: %s\n", strerror(errno));
	map->addr = mmap(NULL, map->nr * HP_2M, PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, 0);
}

static void mount_minimum(struct scene *scene)
{
	mount_pool(scene, "pagesize=2M,size=4M,min_size=4M");
}

static void mount_limited(struct scene *scene)
{
	mount_pool(scene, "pagesize=2M,size=4M");
}

static void make_cgroup(const char *controller)
{
	mkdir(CGROUPS, 0755);
	mount("none", CGROUPS, "cgroup2", 0, NULL);
	hp_write(CGROUPS "/cgroup.subtree_control", "+%s", controller);
	mkdir(CGROUP, 0755);
}

static void join_cgroup(struct scene *scene)
{
	(void)scene;
	make_cgroup("hugetlb");
	hp_write(CGROUP "/cgroup.procs", "0");
}

/* Its memory comes from one node, for the policy and for the reservation. */
static void confine(struct scene *scene)
{
	int node = scene->story->hit == hit_free_0 ? 0 : 1;

	make_cgroup("cpuset");
	hp_write(CGROUP "/cpuset.mems", "%d", node);
	hp_write(CGROUP "/cgroup.procs", "0");
}

static void bind_memory(struct scene *scene)
{
	unsigned long mask = scene->story->hit == hit_free_0 ? 1 : 2;

	if (set_mempolicy(MPOL_BIND, &mask, sizeof(mask) * 8))
		printf("# set_mempolicy: %s\n", strerror(errno));
}

/* Another process maps and touches; this one only looks. */
static void let_other_use(struct scene *scene)
{
	const struct story *story = scene->story;
	int ready[2];
	unsigned long pfn;

	if (pipe(ready))
		return;
	scene->user = fork();
	if (!scene->user) {
		struct hp_map map;

		if (hp_map(&map, story->backing, story->size, 1))
			_exit(1);
		map.addr[0] = 1;
		pfn = hp_pfn(map.addr);
		if (write(ready[1], &pfn, sizeof(pfn)) == sizeof(pfn))
			pause();
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &pfn, sizeof(pfn)) == sizeof(pfn))
		scene->pfn = pfn + SUBPAGE;
	close(ready[0]);
}

static int hit_other(struct scene *scene)
{
	return hp_inject(scene->pfn);
}

/* --- the stories ------------------------------------------------------------------ */

#define POOL_2M		.size = HP_2M, .pool = { 4, 4 }
#define POOL_1G		.size = HP_1G, .pool = { 1, 1 }
#define RESERVED(n)	.backing = HP_MEMFD, .nr = (n)
#define USED(kind, n)	.backing = (kind), .nr = (n), .touch = true

static const struct story stories[] = {
	{ "free", "free", POOL_2M, .hit = hit_free, .bad_kb = 4,
	  .want = { "8/8/0/0", "8/8/0/0", "8/8/0/0" } },
	{ "free-off", "free, `replace` is 0", POOL_2M, .prepare = no_replacing, .hit = hit_free,
	  .bad_kb = 4, .want = { "8/8/0/0", "7/7/0/0", "7/7/0/0" } },
	{ "reserved", "free, all reserved by a mapping", POOL_2M, RESERVED(8), .hit = hit_free,
	  .bad_kb = 4, .want = { "8/8/8/0", "8/8/8/0", "8/8/0/0" } },
	{ "reserved-off", "the same, `replace` is 0", POOL_2M, RESERVED(8),
	  .prepare = no_replacing, .hit = hit_free, .tell = tell_mmap, .bad_kb = 4, .sigbus = 1,
	  .told = "one more mmap: Cannot allocate memory",
	  .want = { "8/8/8/0", "7/7/8/0", "7/7/0/0" } },
	{ "short", "the same, there is no memory; then there is", POOL_2M, RESERVED(8),
	  .prepare = no_memory, .hit = hit_free, .tell = tell_mmap, .leave = leave_no_memory,
	  .told = "one more mmap: Cannot allocate memory", .sigbus = 1, .bad_kb = 4,
	  .want = { "8/8/8/0", "7/7/8/0", "8/1/1/0" } },
	{ "surplus", "free, surplus, reserved", .size = HP_2M, .overcommit = 4, RESERVED(2),
	  .hit = hit_free_0, .bad_kb = 4, .want = { "2/2/2/2", "2/2/2/2", "0/0/0/0" } },
	{ "node", "free, the pool is on node 1 alone", .size = HP_2M, .pool = { 0, 4 },
	  .hit = hit_free, .tell = tell_nodes, .told = "nodes 0+4", .bad_kb = 4,
	  .want = { "4/4/0/0", "4/4/0/0", "4/4/0/0" } },
	{ "cpuset", "free, reserved by a process that a cpuset keeps on node 0", POOL_2M,
	  RESERVED(4), .prepare = confine, .hit = hit_free_0, .tell = tell_placed, .bad_kb = 4,
	  .told = "placed on 4+0", .want = { "8/8/4/0", "8/8/4/0", "8/8/0/0" } },
	{ "mempolicy", "free, reserved by a process that binds to node 1", POOL_2M, RESERVED(4),
	  .prepare = bind_memory, .hit = hit_free, .tell = tell_placed, .bad_kb = 4,
	  .told = "placed on 0+4", .want = { "8/8/4/0", "8/8/4/0", "8/8/0/0" } },
	{ "minimum-free", "free, reserved by a mount's min_size", POOL_2M, .nr = 2,
	  .prepare = mount_minimum, .hit = hit_free, .tell = tell_mount, .bad_kb = 4,
	  .told = "mount: 0 of 2 free", .want = { "8/8/2/0", "8/8/2/0", "8/8/2/0" } },
	{ "shared", "shared (memfd); munmap", POOL_2M, USED(HP_MEMFD, 1), .hit = hit_used,
	  .bad_kb = 4, .want = { "8/7/0/0", "8/7/0/0", "8/8/0/0" } },
	{ "shared-5", "shared, errors in 5 of its pages; munmap", POOL_2M, USED(HP_MEMFD, 1),
	  .hit = hit_used_5, .bad_kb = 20, .want = { "8/7/0/0", "8/7/0/0", "8/8/0/0" } },
	{ "exit", "shared (anonymous); exit", POOL_2M, .backing = HP_ANON,
	  .prepare = let_other_use, .hit = hit_other, .leave = leave_exit, .bad_kb = 4,
	  .want = { "8/7/0/0", "8/7/0/0", "8/8/0/0" } },
	{ "sysv", "SysV segment; IPC_RMID and shmdt", POOL_2M, USED(HP_SHM, 1), .hit = hit_used,
	  .bad_kb = 4, .want = { "8/7/0/0", "8/7/0/0", "8/8/0/0" } },
	{ "unlink", "file on hugetlbfs; unlink and munmap", POOL_2M, USED(HP_FILE, 1),
	  .hit = hit_used, .bad_kb = 4, .want = { "8/7/0/0", "8/7/0/0", "8/8/0/0" } },
	{ "punch", "shared; hole punched over it", POOL_2M, USED(HP_MEMFD, 2), .hit = hit_used,
	  .leave = leave_punch, .bad_kb = 4, .want = { "8/6/0/0", "8/6/0/0", "8/7/0/0" } },
	{ "truncate", "shared; truncated", POOL_2M, USED(HP_MEMFD, 2), .hit = hit_used,
	  .leave = leave_truncate, .bad_kb = 4, .want = { "8/6/0/0", "8/6/0/0", "8/8/0/0" } },
	{ "private", "private; munmap", POOL_2M, USED(HP_PRIVATE, 1), .hit = hit_used,
	  .bad_kb = 4, .want = { "8/7/0/0", "8/7/0/0", "8/8/0/0" } },
	{ "overcommitted", "shared, surplus; munmap", .size = HP_2M, .overcommit = 4,
	  USED(HP_MEMFD, 2), .hit = hit_used, .bad_kb = 4,
	  .want = { "2/0/0/2", "2/0/0/2", "0/0/0/0" } },
	{ "minimum", "file of a mount with min_size; munmap", POOL_2M, .nr = 2, .touch = true,
	  .prepare = mount_minimum, .hit = hit_used, .tell = tell_mount, .bad_kb = 4,
	  .told = "mount: 0 of 2 free", .want = { "8/6/0/0", "8/6/0/0", "8/8/2/0" } },
	{ "limited", "file of a mount with a size limit; munmap", POOL_2M, .nr = 2,
	  .touch = true, .prepare = mount_limited, .hit = hit_used, .tell = tell_mount,
	  .late = true, .told = "mount: 2 of 2 free", .bad_kb = 4,
	  .want = { "8/6/0/0", "8/6/0/0", "8/8/0/0" } },
	{ "cgroup", "shared, charged to a hugetlb cgroup; munmap", POOL_2M, USED(HP_MEMFD, 2),
	  .prepare = join_cgroup, .hit = hit_used, .tell = tell_cgroup, .late = true, .bad_kb = 4,
	  .told = "charged: 0, reserved: 0",
	  .want = { "8/6/0/0", "8/6/0/0", "8/8/0/0" } },
	{ "soft-free", "soft offlined, free", POOL_2M, .hit = retire_free, .bad_kb = 4,
	  .want = { "8/8/0/0", "8/8/0/0", "8/8/0/0" } },
	{ "soft-reserved", "soft offlined, free, all reserved", POOL_2M, RESERVED(8),
	  .hit = retire_free, .bad_kb = 4, .want = { "8/8/8/0", "8/8/8/0", "8/8/0/0" } },
	{ "soft-used", "soft offlined, shared; munmap", POOL_2M, USED(HP_MEMFD, 1),
	  .hit = retire_used, .bad_kb = 4, .want = { "8/7/0/0", "8/7/0/0", "8/8/0/0" } },
	{ "1g-free", "1 GiB page, free", POOL_1G, .hit = hit_free, .bad_kb = 4,
	  .want = { "2/2/0/0", "2/2/0/0", "2/2/0/0" } },
	{ "1g-reserved", "1 GiB page, free, all reserved", POOL_1G, RESERVED(2), .hit = hit_free,
	  .bad_kb = 4, .want = { "2/2/2/0", "2/2/2/0", "2/2/0/0" } },
	{ "1g-shared", "1 GiB page, shared; munmap", POOL_1G, USED(HP_MEMFD, 1), .hit = hit_used,
	  .bad_kb = 4, .want = { "2/1/0/0", "2/1/0/0", "2/2/0/0" } },
	{ "1g-touched", "the only one, reserved, touched right after the error", .size = HP_1G,
	  .pool = { 0, 1 }, RESERVED(1), .at_once = true, .hit = hit_free, .bad_kb = 4,
	  .want = { "1/1/1/0", "1/0/0/0", "1/1/0/0" } },
	/* The last one: a block with an error cannot be brought back online. */
	{ "offline", "the only one, shared, `replace` is 0; munmap, its memory offlined",
	  .size = HP_1G, .pool = { 0, 1 }, USED(HP_MEMFD, 1), .prepare = no_replacing,
	  .hit = hit_used, .tell = tell_offline, .late = true, .stays = true,
	  .told = "offlining its memory: done", .bad_kb = 4,
	  .want = { "1/0/0/0", "1/0/0/0", "0/0/0/0" } },
};

/* --- telling one -------------------------------------------------------------------- */

static void touch_all(struct scene *scene)
{
	const struct story *story = scene->story;

	for (unsigned long i = 0; i < scene->map.nr; i++)
		scene->sigbus += !!hp_touch(scene->map.addr + i * story->size, HP_WRITE).code;
}

static bool use(struct scene *scene)
{
	const struct story *story = scene->story;

	if (story->nr && !scene->map.addr &&
	    hp_map(&scene->map, story->backing, story->size, story->nr))
		return false;
	if (story->touch)
		touch_all(scene);
	return true;
}

static void play(struct scene *scene)
{
	const struct story *story = scene->story;
	int ret;

	note(scene, BEFORE);
	scene->sigbus = 0;
	ret = story->hit(scene);
	if (ret)
		printf("# %s: injection says %s\n", story->name, strerror(-ret));
	if (story->at_once)
		touch_all(scene);
	note(scene, AFTER);
	if (story->tell && story->tell != tell_placed && !story->late)
		story->tell(scene, scene->told, sizeof(scene->told));
	if (scene->map.addr && !story->touch && !story->at_once)
		touch_all(scene);
	if (story->tell == tell_placed)
		story->tell(scene, scene->told, sizeof(scene->told));
	(story->leave ?: leave_unmap)(scene);
	note(scene, LEFT);
	if (story->late)
		story->tell(scene, scene->told, sizeof(scene->told));
}

static void expect(int *wrong, bool right, const char *format, const char *is, const char *want)
{
	if (right)
		return;
	(*wrong)++;
	printf("# ");
	printf(format, is, want);
	printf("\n");
}

static void expect_number(int *wrong, const char *what, long is, long want)
{
	if (is == want)
		return;
	(*wrong)++;
	printf("# %s: %ld, not %ld\n", what, is, want);
}

static int judge(const struct scene *scene)
{
	const struct story *story = scene->story;
	int wrong = 0;

	for (enum stage stage = 0; stage < STAGES; stage++)
		expect(&wrong, !strcmp(scene->state[stage], story->want[stage]),
		       "the pool: %s, not %s", scene->state[stage], story->want[stage]);
	expect(&wrong, !story->told || !strcmp(scene->told, story->told), "%s, not %s",
	       scene->told, story->told);
	expect_number(&wrong, "touches that failed", scene->sigbus, story->sigbus);
	expect_number(&wrong, "HardwareCorrupted, kB", scene->bad_kb[AFTER], story->bad_kb);
	expect_number(&wrong, "HardwareCorrupted at the end, kB", scene->bad_kb[LEFT],
		      story->bad_kb);
	return wrong;
}

static void print_row(const struct scene *scene)
{
	printf("row\t%s\t%s\t%s\t%s\t%s\t%d\t%ld\t%ld\t%s\n", scene->story->name,
	       scene->story->what, scene->state[BEFORE], scene->state[AFTER],
	       scene->state[LEFT], scene->sigbus, scene->bad_kb[AFTER], scene->bad_kb[LEFT],
	       scene->told);
}

/* Nothing of a story is left: mappings, mounts, cgroups, policies, errors. */
static void clean_up(struct scene *scene)
{
	if (scene->user)
		leave_exit(scene);
	leave_unmap(scene);
	leave_no_memory(scene);
	umount(MOUNT);
	rmdir(MOUNT);
	hp_write(CGROUPS "/cgroup.procs", "0");
	rmdir(CGROUP);
	set_mempolicy(MPOL_DEFAULT, NULL, 0);
	hp_undo(scene->corrupted);
	if (ours)
		hp_set_replace(true);
}

/* Returns how much is wrong, -1 when the pool could not be made. */
static int tell(const struct story *story)
{
	struct scene scene = { .story = story };
	int wrong;

	printf("story\t%s\n", story->name);
	fflush(stdout);
	if (!make_pools(story))
		return -1;
	scene.corrupted = corrupted();
	if (story->prepare)
		story->prepare(&scene);
	if (!use(&scene)) {
		printf("# %s: cannot map\n", story->name);
		clean_up(&scene);
		return 1;
	}
	play(&scene);
	print_row(&scene);
	wrong = ours ? judge(&scene) : 0;
	clean_up(&scene);
	if (ours && !story->stays)
		expect_number(&wrong, "HardwareCorrupted, all undone, kB", corrupted(),
			      scene.corrupted);
	printf("%s %s\n", wrong ? "not ok" : "ok", story->name);
	fflush(stdout);
	return wrong;
}

static bool chosen(const struct story *story, char **names)
{
	if (!*names)
		return !ours || story->prepare != no_memory || !access(FAIL "probability", W_OK);
	for (; *names; names++)
		if (!strcmp(*names, story->name))
			return true;
	return false;
}

/* All hugepages are made anew, and give most of their struct pages back. */
static void use_hvo(void)
{
	for (int node = 0; node < 2; node++) {
		hp_set_pool(HP_2M, node, 0);
		hp_set_pool(HP_1G, node, 0);
	}
	hp_write("/proc/sys/vm/hugetlb_optimize_vmemmap", "1");
}

static const char usage[] =
	"usage: pool [--list | --hvo] [STORY...]\n"
	"  --list  the names of the stories\n"
	"  --hvo   with vm.hugetlb_optimize_vmemmap\n"
	"exit status: 0 all well, 1 not, 2 wrong usage, 3 a story left no usable pool\n";

static void list(void)
{
	char *none = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(stories); i++)
		if (chosen(&stories[i], &none))
			printf("%s\n", stories[i].name);
}

static bool known(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(stories); i++)
		if (!strcmp(stories[i].name, name))
			return true;
	fprintf(stderr, "pool: no story '%s'; see --list\n", name);
	return false;
}

static int tell_all(char **names)
{
	int failed = 0, ret;

	for (size_t i = 0; i < ARRAY_SIZE(stories); i++) {
		if (!chosen(&stories[i], names))
			continue;
		ret = tell(&stories[i]);
		if (ret < 0) {
			printf("# %s: the pool cannot be made, it has %ld hugepages, %ld free\n",
			       stories[i].name, pool("nr_hugepages", stories[i].size),
			       pool("free_hugepages", stories[i].size));
			return SPOILED;
		}
		failed += !!ret;
	}
	return !!failed;
}

int main(int argc, char **argv)
{
	char **names = argv + 1;

	ours = !access(HP_SYSFS "replace", F_OK);
	if (argc == 2 && !strcmp(*names, "--list")) {
		list();
		return 0;
	}
	if (argc > 1 && !strcmp(*names, "--hvo")) {
		use_hvo();
		names++;
	}
	for (char **name = names; *name; name++) {
		if (**name == '-') {
			fputs(usage, stderr);
			return 2;
		}
		if (!known(*name))
			return 2;
	}
	hp_catch_sigbus();
	return tell_all(names);
}
