/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Limits of memory that leave no room for a hugepage: strict overcommit, a memory
 * cgroup. To be included after kselftest_harness.h and hp_child.h.
 */
#ifndef HP_LIMITS_H
#define HP_LIMITS_H

#include <errno.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hp_proc.h"

/*
 * Strict overcommit has nothing for this process, as it maps so much, while who
 * runs the tests gets what it needs.
 */
struct strict {
	char *much;
	long reserve_kb;
};

#define MUCH		(16UL << 30)
#define RESERVE		"/proc/sys/vm/user_reserve_kbytes"

static inline int forbid_overcommit(struct strict *strict)
{
	const long room_kb = 128 << 10;
	int ret;

	strict->reserve_kb = hp_read_long(RESERVE);
	strict->much = mmap(NULL, MUCH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (strict->much == MAP_FAILED)
		return -errno;
	ret = hp_write(RESERVE, "%ld", 3 * room_kb);
	ret = ret ?: hp_write("/proc/sys/vm/overcommit_kbytes", "%ld",
			      hp_meminfo_kb("Committed_AS") + room_kb);
	return ret ?: hp_write("/proc/sys/vm/overcommit_memory", "2");
}

static inline void allow_overcommit(META, struct strict *strict)
{
	EXPECT_EQ(0, munmap(strict->much, MUCH));
	EXPECT_EQ(0, hp_write("/proc/sys/vm/overcommit_memory", "0"));
	EXPECT_EQ(0, hp_write("/proc/sys/vm/overcommit_ratio", "50"));
	EXPECT_EQ(0, hp_write(RESERVE, "%ld", strict->reserve_kb));
}

/* --- cgroups --------------------------------------------------------------- */

#define CGROUPS	"/tmp/hp-private-cgroups"
#define CGROUP	CGROUPS "/limited"

static inline void enter_cgroup(const char *controller)
{
	mkdir(CGROUPS, 0755);
	mount("none", CGROUPS, "cgroup2", 0, NULL);
	hp_write(CGROUPS "/cgroup.subtree_control", "+%s", controller);
	mkdir(CGROUP, 0755);
	hp_write(CGROUP "/cgroup.procs", "0");
}

static inline void leave_cgroup(void)
{
	hp_write(CGROUPS "/cgroup.procs", "0");
	hp_await(!rmdir(CGROUP) || errno == ENOENT, "nobody is left in " CGROUP);
	umount(CGROUPS);
}

#endif /* HP_LIMITS_H */
