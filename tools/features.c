// SPDX-License-Identifier: GPL-2.0
/* hugepoison-inject: features of this kernel, and why others are missing. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>
#include <unistd.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "inject.h"

/*
 * Each check returns NULL for yes, else why not. A check that needs root says so
 * instead of no.
 */
struct feature {
	const char *name, *what;
	const char *(*look)(const struct feature *f);
	const char *path, *why;
};

static const char *look_path(const struct feature *f)
{
	if (!access(f->path, F_OK))
		return NULL;
	return errno == EACCES ? "cannot be seen: run as root" : f->why;
}

static const char *look_debugfs(const struct feature *f)
{
	char dir[256], path[400];

	if (!debugfs_dir(dir, sizeof(dir)))
		return "debugfs is not mounted: mount -t debugfs none /sys/kernel/debug";
	snprintf(path, sizeof(path), "%s/%s", dir, f->path);
	if (!access(path, F_OK))
		return NULL;
	return errno == EACCES ? "cannot be seen: run as root" : f->why;
}

static const char *look_madvise(const struct feature *f)
{
	if (!madvise((void *)PAGE_BYTES, 0, MADV_HWPOISON))
		return NULL;
	return errno == EPERM ? "cannot be seen: run as root" : f->why;
}

static const char *look_mce(const struct feature *f)
{
	const char *why = look_debugfs(f);
	char line[256] = "";
	FILE *cpus = fopen("/proc/cpuinfo", "re");

	while (cpus && fgets(line, sizeof(line), cpus) && strncmp(line, "vendor_id", 9))
		line[0] = '\0';
	if (cpus)
		fclose(cpus);
	if (!why && !strstr(line, "AuthenticAMD") && !strstr(line, "HygonGenuine"))
		return "the kernel's mce-inject writes a register that only AMD processors have";
	return why;
}

static const char *look_soft_offline(const struct feature *f)
{
	const char *why = look_path(f);
	char enabled[8];

	if (why || !read_word("/proc/sys/vm/enable_soft_offline", enabled, sizeof(enabled)))
		return why;
	return *enabled == '0' ? "it is off: sysctl vm.enable_soft_offline=1" : NULL;
}

static const char *look_minor_faults(const struct feature *f)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_HUGETLBFS };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	bool has = fd >= 0 && !ioctl(fd, UFFDIO_API, &api);

	if (fd >= 0)
		close(fd);
	return has ? NULL : f->why;
}

static const char *look_sizes(const struct feature *f)
{
	return access("/sys/kernel/mm/hugepages", F_OK) ? f->why : NULL;
}

#define OURS	"CONFIG_HUGEPOISON is not in this kernel"

static const struct feature features[] = {
	{ "hugepages", "pools of hugepages", look_sizes, NULL,
	  "no /sys/kernel/mm/hugepages: CONFIG_HUGETLBFS" },
	{ "hugepoison", "an error costs 4 KiB; policy and counters in sysfs", look_path, OURS_DIR,
	  OURS },
	{ "bad_pages", "each bad page, its state and owner", look_path,
	  "/proc/hugepoison/bad_pages", OURS },
	{ "own", "a process's own losses", look_path, "/proc/hugepoison/own", OURS },
	{ "kpageflags", "from a PFN to its hugepage", look_path, "/proc/kpageflags",
	  "CONFIG_PROC_PAGE_MONITOR" },
	{ "minor-faults", "a file's page at an offset, without touching it", look_minor_faults,
	  NULL, "CONFIG_USERFAULTFD with minor faults on hugetlbfs" },
	{ "corrupt-pfn", "inject by page frame, as a scrubber does", look_debugfs,
	  "hwpoison/corrupt-pfn", "modprobe hwpoison-inject, or CONFIG_HWPOISON_INJECT" },
	{ "corrupt-free-hugepage", "inject into a free hugepage, by the kernel's choice",
	  look_debugfs, "hwpoison/corrupt-free-hugepage", OURS ", or hwpoison-inject is not" },
	{ "unpoison-pfn", "take an injected error back", look_debugfs, "hwpoison/unpoison-pfn",
	  "modprobe hwpoison-inject, or CONFIG_HWPOISON_INJECT" },
	{ "unpoison-in-use", "... by its own page's number, while in use", look_path, OURS_DIR,
	  OURS },
	{ "hard-offline", "inject by address, as a scrubber does", look_path,
	  "/sys/devices/system/memory/hard_offline_page",
	  "CONFIG_MEMORY_FAILURE and CONFIG_MEMORY_HOTPLUG" },
	{ "soft-offline", "move a page that may fail soon", look_soft_offline,
	  "/sys/devices/system/memory/soft_offline_page",
	  "CONFIG_MEMORY_FAILURE and CONFIG_MEMORY_HOTPLUG" },
	{ "madvise", "inject as an access that hit the error", look_madvise, NULL,
	  "CONFIG_MEMORY_FAILURE" },
	{ "mce-inject", "inject through the machine check code", look_mce, "mce-inject/bank",
	  "modprobe mce-inject, or CONFIG_X86_MCE_INJECT" },
};

static void print_json(const char *kernel)
{
	struct json_object *o = json_start("features"), *list = json_object_new_array(), *one;

	put_text(o, "kernel", kernel);
	json_object_object_add(o, "features", list);
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		const char *why = features[i].look(&features[i]);

		one = json_object_new_object();
		put_text(one, "name", features[i].name);
		put_bool(one, "available", !why);
		put_text(one, "why_not", why);
		json_object_array_add(list, one);
	}
	json_finish(o, stdout, true);
}

/**
 * run_features - the command features
 * @opt: the options
 *
 * Return: an exit status.
 */
int run_features(struct options *opt)
{
	struct utsname uts;

	uname(&uts);
	if (opt->json) {
		print_json(uts.release);
		return finish_output(stdout, "standard output");
	}
	printf("Linux %s, %s\n\n", uts.release, kernel_has_hugepoison() ? "hugepoison" : "stock");
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		const char *why = features[i].look(&features[i]);

		printf("%-22s %-4s %s\n", features[i].name, why ? "no" : "yes", features[i].what);
		if (why)
			printf("%28s%s\n", "", why);
	}
	return finish_output(stdout, "standard output");
}
