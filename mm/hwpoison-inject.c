// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: injecting them.
 *
 * Stock's debugfs files take a page frame number; those here select a hugepage in other
 * ways. They are built in also where stock's are a module.
 */
#if IS_ENABLED(CONFIG_HWPOISON_INJECT)
#include <linux/debugfs.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "internal.h"

/* "SIZE NODE [SUBPAGE]", as in "2M 1 5"; every field is checked before use. */
static int hugepoison_parse_free(char *text, unsigned long *size, int *nid,
				 unsigned long *subpage)
{
	char *field[3], *end;
	int nr = 0;

	while (text) {
		char *word = strsep(&text, " \t\n");

		if (!*word)
			continue;
		if (nr == ARRAY_SIZE(field))
			return -EINVAL;
		field[nr++] = word;
	}
	if (nr < 2)
		return -EINVAL;

	*size = memparse(field[0], &end);
	*subpage = 0;
	if (*end || kstrtoint(field[1], 0, nid))
		return -EINVAL;
	if (nr == 3 && kstrtoul(field[2], 0, subpage))
		return -EINVAL;
	if (*subpage >= *size >> PAGE_SHIFT)
		return -EINVAL;
	if (*nid != NUMA_NO_NODE &&
	    (*nid < 0 || *nid >= MAX_NUMNODES || !node_online(*nid)))
		return -EINVAL;
	return 0;
}

static ssize_t corrupt_free_write(struct file *file, const char __user *buf,
				  size_t count, loff_t *ppos)
{
	unsigned long size, subpage;
	int nid, ret;
	char *text;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (count > 100)
		return -EINVAL;
	text = memdup_user_nul(buf, count);
	if (IS_ERR(text))
		return PTR_ERR(text);

	ret = hugepoison_parse_free(text, &size, &nid, &subpage);
	kfree(text);
	if (!ret)
		ret = hugepoison_corrupt_free(size, nid, subpage);
	return ret ? ret : count;
}

static const struct file_operations corrupt_free_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.write = corrupt_free_write,
};

/* The mode lets a container's root write, but a filter affects the whole machine. */
static int hugepoison_filter_set(void *data, u64 value)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	*(u64 *)data = value;
	return 0;
}

static int hugepoison_filter_get(void *data, u64 *value)
{
	*value = *(u64 *)data;
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(hugepoison_filter_fops, hugepoison_filter_get,
			 hugepoison_filter_set, "%llu\n");

/**
 * hugepoison_inject_init - add the hugepage files to the injector's directory
 * @dir: hwpoison/ in debugfs; removing it removes the files
 *
 * Context: Module initialisation.
 */
void hugepoison_inject_init(struct dentry *dir)
{
	debugfs_create_file("corrupt-free-hugepage", 0200, dir, NULL,
			    &corrupt_free_fops);
	debugfs_create_file_unsafe("corrupt-filter-hugepage-size", 0600, dir,
				   &hugepoison_filter_size,
				   &hugepoison_filter_fops);
	debugfs_create_file_unsafe("corrupt-filter-hugetlb-cgroup", 0600, dir,
				   &hugepoison_filter_cgroup,
				   &hugepoison_filter_fops);
}
EXPORT_SYMBOL_GPL(hugepoison_inject_init);
#endif /* CONFIG_HWPOISON_INJECT */
