// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ways for unprivileged processes to delay an error's handling. Each kind is a
 * loop; hostile.c runs hundreds of them. None may end by itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"

#define RW		(PROT_READ | PROT_WRITE)
#define HOLE		(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static char *their_page(struct hostile *h, unsigned int i, unsigned long page)
{
	return h->theirs.addr + i % NR_THEIRS * HP_2M + page * HP_BASE;
}

/* --- SIGBUS ------------------------------------------------------------- */

static sigjmp_buf back;

static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static int survive_sigbus(struct hostile *h, unsigned int i)
{
	struct sigaction action = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };

	(void)h;
	(void)i;
	return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}

static void touch(const char *at)
{
	if (!sigsetjmp(back, 0))
		__atomic_load_n(at, __ATOMIC_RELAXED);
}

/* --- readers of every file of ours -------------------------------------- */

#define MAX_FILES	256

static char *files[MAX_FILES];
static unsigned int nr_files;

/* All that anybody may read below a directory. */
static void collect_files(const char *dir)
{
	struct dirent *entry;
	struct stat stat;
	char path[512];
	DIR *d = opendir(dir);

	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (lstat(path, &stat))
			continue;
		if (S_ISDIR(stat.st_mode))
			collect_files(path);
		else if (S_ISREG(stat.st_mode) && stat.st_mode & 0004 && nr_files < MAX_FILES)
			files[nr_files++] = strdup(path);
	}
	if (d)
		closedir(d);
}

static int find_files(struct hostile *h)
{
	(void)h;
	collect_files("/sys/kernel/mm/hugepoison");
	collect_files("/proc/hugepoison");
	return nr_files ? 0 : -ENOENT;
}

static int mine;

static int open_one(struct hostile *h, unsigned int i)
{
	(void)h;
	mine = open(files[i % nr_files], O_RDONLY | O_CLOEXEC);
	return mine < 0 ? -errno : 0;
}

static void read_it(struct hostile *h, unsigned int i, unsigned long round)
{
	char text[4096];

	(void)h;
	(void)i;
	(void)round;
	if (pread(mine, text, sizeof(text), 0) < 0)
		return;
}

/* --- healers of what a pipe holds ------------------------------------------ */

/* A healthy page of each hugepage lies in a pipe: the hugepage stays busy. */
static int hold_by_pipes(struct hostile *h)
{
	for (unsigned int i = 0; i < NR_THEIRS; i++) {
		struct iovec page = { .iov_base = their_page(h, i, 0), .iov_len = HP_BASE };
		int ends[2];

		if (pipe(ends) || vmsplice(ends[1], &page, 1, 0) != HP_BASE)
			return -errno;
	}
	return 0;
}

static void heal(struct hostile *h, unsigned int i, unsigned long round)
{
	off_t raw = i % NR_THEIRS * HP_2M + RAW_PAGE * HP_BASE;

	if (round & 1)
		madvise(their_page(h, i, RAW_PAGE), HP_BASE, MADV_REMOVE);
	else
		fallocate(h->theirs.fd, HOLE, raw, HP_BASE);
}

/* --- forkers and mappers of a poisoned hugepage ------------------------------- */

static void fork_and_touch(char *at)
{
	pid_t pid = fork();

	if (!pid) {
		touch(at);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void map_and_fork(struct hostile *h, unsigned int i, unsigned long round)
{
	char *at = mmap(NULL, HP_2M, RW, MAP_SHARED, h->theirs.fd, i % NR_THEIRS * HP_2M);

	if (at == MAP_FAILED)
		return;
	touch(at);
	if (round % 4 == 0)
		fork_and_touch(at);
	munmap(at, HP_2M);
}

/* --- page faults on raw and on healthy pages ------------------------------------- */

static void fault(struct hostile *h, unsigned int i, unsigned long round)
{
	char *hugepage = their_page(h, i, 0);

	touch(hugepage + RAW_PAGE * HP_BASE);
	madvise(hugepage, HP_2M, MADV_DONTNEED);
	touch(hugepage + round % RAW_PAGE * HP_BASE);
}

/* --- mmap_lock held, by FUSE ----------------------------------------------------- */

static int start_fuse(struct hostile *h)
{
	return hp_fuse_start(&h->fuse);
}

static void hold_mmap_lock(struct hostile *h, unsigned int i, unsigned long round)
{
	(void)i;
	(void)round;
	hp_fuse_hold_mmap_lock(&h->fuse);
}

/* --- loads of what userfaultfd has poisoned -------------------------------------- */

static char *marked;		/* a private hugepage with a poison marker */

#ifndef UFFDIO_POISON
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};

#define UFFDIO_POISON		_IOWR(UFFDIO, 0x08, struct uffdio_poison)
#define UFFD_FEATURE_POISON	(1 << 14)
#endif

static int mark(struct hostile *h, unsigned int i)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_POISON };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_poison poison = { 0 };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	marked = mmap(NULL, HP_2M, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE,
		      -1, 0);
	if (fd < 0 || marked == MAP_FAILED)
		return -errno;
	reg.range.start = (unsigned long)marked;
	reg.range.len = HP_2M;
	poison.range = reg.range;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg) ||
	    ioctl(fd, UFFDIO_POISON, &poison))
		return -errno;
	return survive_sigbus(h, i);
}

static void touch_marked(struct hostile *h, unsigned int i, unsigned long round)
{
	(void)h;
	(void)i;
	(void)round;
	touch(marked);
}

/* --- system calls on a narrowed range ---------------------------------------------- */

static void call(struct hostile *h, unsigned int i, unsigned long round)
{
	char *hugepage = their_page(h, i, 0);
	unsigned int *word = (unsigned int *)hugepage;

	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
	syscall(SYS_futex, word, FUTEX_WAKE_OP, 1, 1, word + 1,
		FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0));
	syscall(SYS_futex, word + 2 + i, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0);
	syscall(SYS_futex, word + 2 + i, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
	if (!mlock(hugepage, HP_BASE))
		munlock(hugepage, HP_BASE);
	if (round % 4 == 0)
		madvise(hugepage, HP_2M, MADV_DONTNEED);
}

/* --- all of it ----------------------------------------------------------------------- */

#define NR_SINGLE	7	/* kinds before this one */

static int prepare_all(struct hostile *h)
{
	int ret = 0;

	for (unsigned int k = 0; k < NR_SINGLE && !ret; k++)
		if (kinds[k].prepare)
			ret = kinds[k].prepare(h);
	return ret;
}

static int begin_any(struct hostile *h, unsigned int i)
{
	const struct kind *kind = &kinds[i % NR_SINGLE];

	return kind->begin ? kind->begin(h, i / NR_SINGLE) : 0;
}

static void attack_any(struct hostile *h, unsigned int i, unsigned long round)
{
	kinds[i % NR_SINGLE].attack(h, i / NR_SINGLE, round);
}

const struct kind kinds[] = {
	{ "readers", "read every file of ours", find_files, open_one, read_it, false },
	{ "healers", "punch out what a pipe holds", hold_by_pipes, NULL, heal, false },
	{ "mappers", "map a poisoned hugepage, fork", NULL, survive_sigbus, map_and_fork, false },
	{ "faulters", "touch raw and healthy pages", NULL, survive_sigbus, fault, false },
	{ "fuse", "hold mmap_lock, by FUSE", start_fuse, NULL, hold_mmap_lock, true },
	{ "markers", "load UFFDIO_POISON's poison", NULL, mark, touch_marked, false },
	{ "callers", "futex, mlock, madvise", NULL, survive_sigbus, call, false },
	{ "all", "all of these", prepare_all, begin_any, attack_any, false },
};

const unsigned int nr_kinds = ARRAY_SIZE(kinds);
_Static_assert(ARRAY_SIZE(kinds) == NR_SINGLE + 1, "NR_SINGLE");
