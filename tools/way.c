// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: the kernel's ways to poison and to unpoison.
 *
 * way_check() finds out whether the kernel can take the chosen way, before
 * anything changes. way_apply() is the only function of the tool that changes
 * anything: a write() or a madvise().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "inject.h"

#define MEMORY_DIR	"/sys/devices/system/memory"

static char way_path[320];	/* the file to write to, or debugfs itself for mce-inject */

/**
 * way_name - the name of a way in options and reports
 * @way: the way
 */
const char *way_name(enum way way)
{
	static const char *const names[] = {
		[WAY_DEFAULT] = "default",
		[WAY_CORRUPT_PFN] = "corrupt-pfn",
		[WAY_CORRUPT_FREE] = "corrupt-free-hugepage",
		[WAY_HARD_OFFLINE] = "hard-offline",
		[WAY_SOFT_OFFLINE] = "soft-offline",
		[WAY_MADVISE] = "madvise",
		[WAY_MCE] = "mce-inject",
		[WAY_UNPOISON] = "unpoison-pfn",
	};

	return names[way];
}

/**
 * mounted_dir - where a file system of the kernel's is mounted
 * @kind: its type
 * @dir: where to put the path; a space in it would be written \040
 * @len: how much fits there
 */
bool mounted_dir(const char *kind, char *dir, size_t len)
{
	FILE *f = fopen("/proc/self/mounts", "re");
	char line[1024], where[256], type[32];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		found = sscanf(line, "%*s %255s %31s", where, type) == 2 &&
			!strcmp(type, kind);
		if (found)
			snprintf(dir, len, "%s", where);
	}
	if (f)
		fclose(f);
	return found;
}

/**
 * debugfs_dir - where debugfs is mounted
 * @dir: where to put the path
 * @len: how much fits there
 */
bool debugfs_dir(char *dir, size_t len)
{
	return mounted_dir("debugfs", dir, len);
}

/**
 * kernel_has_hugepoison - is CONFIG_HUGEPOISON in the running kernel
 */
bool kernel_has_hugepoison(void)
{
	return !access("/sys/kernel/mm/hugepoison", F_OK);
}

static bool kernel_has_debugfs(void)
{
	FILE *f = fopen("/proc/filesystems", "re");
	char line[64];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "\tdebugfs\n");
	if (f)
		fclose(f);
	return found;
}

static int check_debugfs(char *dir, size_t len)
{
	if (debugfs_dir(dir, len))
		return DONE;
	if (kernel_has_debugfs())
		return fail(FAILED, "debugfs is not mounted: mount -t debugfs none "
			    "/sys/kernel/debug");
	return fail(UNSUPPORTED, "this kernel has no debugfs (CONFIG_DEBUG_FS): --via "
		    "hard-offline and madvise do without");
}

static int check_hwpoison_dir(char *dir, size_t len)
{
	char path[300];
	int status = check_debugfs(dir, len);

	if (status)
		return status;
	snprintf(path, sizeof(path), "%s/hwpoison", dir);
	if (access(path, F_OK))
		return fail(UNSUPPORTED,
			    "%s is absent: modprobe hwpoison-inject, or build the kernel "
			    "with CONFIG_HWPOISON_INJECT",
			    path);
	return DONE;
}

static int check_file(void)
{
	if (!access(way_path, W_OK))
		return DONE;
	if (errno == ENOENT)
		return fail(UNSUPPORTED, "%s is absent: this kernel cannot do that", way_path);
	return fail(FAILED, "cannot write to %s: %s", way_path, strerror(errno));
}

static int check_offline(enum way way)
{
	char soft[8] = "";

	snprintf(way_path, sizeof(way_path), MEMORY_DIR "/%s_offline_page",
		 way == WAY_SOFT_OFFLINE ? "soft" : "hard");
	if (access(way_path, F_OK))
		return fail(UNSUPPORTED, "%s is absent: the kernel needs CONFIG_MEMORY_FAILURE and "
			    "CONFIG_MEMORY_HOTPLUG", way_path);
	if (way == WAY_SOFT_OFFLINE &&
	    read_word("/proc/sys/vm/enable_soft_offline", soft, sizeof(soft)) && *soft == '0')
		return fail(UNSUPPORTED, "soft offlining is off: sysctl vm.enable_soft_offline=1");
	return check_file();
}

/*
 * A call on an empty range shows whether the kernel knows the advice, and does
 * nothing.
 */
static int check_madvise(void)
{
	if (!madvise((void *)PAGE_BYTES, 0, MADV_HWPOISON))
		return DONE;
	return fail(UNSUPPORTED,
		    "madvise(MADV_HWPOISON): %s: the kernel needs CONFIG_MEMORY_FAILURE",
		    errno_name(errno));
}

static int check_mce(void)
{
	int status = check_debugfs(way_path, sizeof(way_path));

	return status ? status : mce_check(way_path);
}

static int check_hwpoison_file(enum way way)
{
	char dir[256];
	int status = check_hwpoison_dir(dir, sizeof(dir));

	if (status)
		return status;
	snprintf(way_path, sizeof(way_path), "%s/hwpoison/%s", dir, way_name(way));
	return check_file();
}

/**
 * way_choose - the way to take, unless the user chose one
 * @opt: the options
 *
 * For a free hugepage the kernel's own injector is better: it chooses and
 * poisons under the pool's lock. Where it is absent we choose by
 * /proc/kpageflags, and the kernel's log tells whether the hugepage was still
 * free when the error struck it.
 *
 * Return: the way; way_check() says whether the kernel has it.
 */
enum way way_choose(const struct options *opt)
{
	char dir[256], path[320];

	if (opt->command == CMD_UNPOISON)
		return WAY_UNPOISON;
	if (opt->way != WAY_DEFAULT)
		return opt->way;
	if (opt->kind != TARGET_FREE || !debugfs_dir(dir, sizeof(dir)))
		return WAY_CORRUPT_PFN;
	snprintf(path, sizeof(path), "%s/hwpoison/%s", dir, way_name(WAY_CORRUPT_FREE));
	return access(path, F_OK) ? WAY_CORRUPT_PFN : WAY_CORRUPT_FREE;
}

/**
 * way_check - see whether the kernel can take a way
 * @way: the way
 *
 * Return: DONE, or an exit status after a message.
 */
int way_check(enum way way)
{
	switch (way) {
	case WAY_HARD_OFFLINE:
	case WAY_SOFT_OFFLINE: return check_offline(way);
	case WAY_MADVISE: return check_madvise();
	case WAY_MCE: return check_mce();
	default: return check_hwpoison_file(way);
	}
}

static struct signal_seen caught;

/*
 * Returning is right here: the signal comes on the way out of madvise(), not from
 * an access that would be repeated, and so its return value is not lost.
 */
static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	note_signal(&caught, info);
}

static int advise(const struct page *page, const struct mapping *map, struct signal_seen *sig)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct sigaction before;
	char *addr = (char *)map->addr + ((page->pfn - page->head) << PAGE_SHIFT);
	int err;

	caught = (struct signal_seen) { 0 };
	sigaction(SIGBUS, &action, &before);
	err = madvise(addr, PAGE_BYTES, MADV_HWPOISON) ? errno : 0;
	sigaction(SIGBUS, &before, NULL);
	*sig = caught;
	return err;
}

/**
 * way_apply - poison, or unpoison, the raw page
 * @opt: opt->way says how
 * @page: the raw page
 * @map: our mapping of it, for WAY_MADVISE
 * @out: the errno and the signal that came of it
 *
 * A stock kernel unpoisons a hugepage by its head only, and all of it at once; with
 * CONFIG_HUGEPOISON any raw page will do, and only its own error is undone.
 */
void way_apply(const struct options *opt, const struct page *page,
	       const struct mapping *map, struct outcome *out)
{
	char text[64], size[24];

	switch (opt->way) {
	case WAY_MADVISE:
		out->err = advise(page, map, &out->sig);
		return;
	case WAY_CORRUPT_FREE:
		size_text(page->pages << PAGE_SHIFT, size, sizeof(size));
		snprintf(text, sizeof(text), "%s %d %" PRIu64, size, page->node,
			 page->pfn - page->head);
		break;
	case WAY_MCE:
		out->err = mce_inject(way_path, page->pfn);
		return;
	case WAY_HARD_OFFLINE:
	case WAY_SOFT_OFFLINE:
		snprintf(text, sizeof(text), "0x%" PRIx64, page->pfn << PAGE_SHIFT);
		break;
	case WAY_UNPOISON:
		snprintf(text, sizeof(text), "0x%" PRIx64,
			 kernel_has_hugepoison() ? page->pfn : page->head);
		break;
	default:
		snprintf(text, sizeof(text), "0x%" PRIx64, page->pfn);
	}
	out->err = write_text(way_path, text);
}
