// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: /sys/kernel/mm/hugepoison/.
 *
 * The gauges are sums over the records, and so always agree with them; the counters are
 * outcomes since boot.
 *
 * Any user can read the files at any rate: so reading takes no lock that the error
 * handler waits for.
 */
#include <linux/init.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "internal.h"

/* One directory: a hugepage size, on one node or (NUMA_NO_NODE) on all. */
struct hugepoison_dir {
	struct kobject kobj;
	struct hstate *h;
	int nid;
};

/* One file: an outcome's counter, or a gauge beyond them. */
struct hugepoison_file {
	struct kobj_attribute attr;
	unsigned int what;
};

/* The files: one for each outcome, then the gauges. */
enum hugepoison_gauge {
	HUGEPOISON_POISONED_HUGEPAGES = NR_HUGEPOISON_OUTCOMES,
	HUGEPOISON_MCE_BAD_PAGES,
	NR_HUGEPOISON_FILES
};

static struct hugepoison_file hugepoison_files[NR_HUGEPOISON_FILES];
static struct attribute *hugepoison_file_attrs[NR_HUGEPOISON_FILES + 1];
ATTRIBUTE_GROUPS(hugepoison_file);

/*
 * Count the hugepages with raw pages, or the base pages out of use, of a directory. RCU
 * keeps the records. While an error is handled the sum may be of before it or of a step
 * on the way, which is as good as a read just before or after.
 */
static long hugepoison_sum(struct hugepoison_dir *dir, bool base_pages)
{
	struct hugepoison_record *record;
	long sum = 0;
	int bucket;

	rcu_read_lock();
	hash_for_each_rcu(hugepoison_records, bucket, record, node) {
		/* removed memory does not count */
		if (record->order != huge_page_order(dir->h) ||
		    hugepoison_stale(record))
			continue;
		if (dir->nid != NUMA_NO_NODE && dir->nid != record->nid)
			continue;
		/* data_race(): either value is right, see above */
		sum += base_pages ? data_race(record->nr_bad) :
			!hugepoison_is(record, HUGEPOISON_STATE_RELEASED);
	}
	rcu_read_unlock();
	return sum;
}

static long hugepoison_counter(struct hugepoison_dir *dir, unsigned int what)
{
	struct hugepoison_counts *counts =
		hugepoison_counts[hstate_index(dir->h)];
	long sum = 0;
	int nid;

	if (dir->nid != NUMA_NO_NODE)
		return atomic_long_read(&counts[dir->nid].nr[what]);
	for_each_node(nid)
		sum += atomic_long_read(&counts[nid].nr[what]);
	return sum;
}

static ssize_t hugepoison_file_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	struct hugepoison_dir *dir =
		container_of(kobj, struct hugepoison_dir, kobj);
	unsigned int what =
		container_of(attr, struct hugepoison_file, attr)->what;
	long nr;

	if (what < NR_HUGEPOISON_OUTCOMES)
		nr = hugepoison_counter(dir, what);
	else
		nr = hugepoison_sum(dir, what == HUGEPOISON_MCE_BAD_PAGES);
	return sysfs_emit(buf, "%ld\n", nr);
}

static void hugepoison_dir_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct hugepoison_dir, kobj));
}

static const struct kobj_type hugepoison_dir_type = {
	.release = hugepoison_dir_release,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = hugepoison_file_groups,
};

static void __init hugepoison_init_files(void)
{
	unsigned int i;

	for (i = 0; i < NR_HUGEPOISON_FILES; i++) {
		struct attribute *attr = &hugepoison_files[i].attr.attr;

		sysfs_attr_init(attr);
		if (i < NR_HUGEPOISON_OUTCOMES)
			attr->name = hugepoison_actions[i].name;
		else if (i == HUGEPOISON_MCE_BAD_PAGES)
			attr->name = "mce_bad_pages";
		else
			attr->name = "poisoned_hugepages";
		attr->mode = 0444;
		hugepoison_files[i].attr.show = hugepoison_file_show;
		hugepoison_files[i].what = i;
		hugepoison_file_attrs[i] = attr;
	}
}

/* The directories of all hugepage sizes below @parent. */
static int __init hugepoison_add_sizes(struct kobject *parent, int nid)
{
	struct hugepoison_dir *dir;
	struct hstate *h;
	int ret;

	for_each_hstate(h) {
		if (!hugepoison_counts[hstate_index(h)])
			return -ENOMEM;
		dir = kzalloc_obj(*dir, GFP_KERNEL);
		if (!dir)
			return -ENOMEM;
		dir->h = h;
		dir->nid = nid;
		ret = kobject_init_and_add(&dir->kobj, &hugepoison_dir_type,
					   parent, "%s", h->name);
		if (ret) {
			kobject_put(&dir->kobj);
			return ret;
		}
	}
	return 0;
}

/*
 * The settings below affect all users of the machine. The mode of a file lets uid 0 of a
 * container write it; so writing needs the host's capability.
 */

/* The part of a hugepage that an error puts out of use. */
static const char * const hugepoison_containments[] = { "hugepage", "page" };

static ssize_t containment_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, READ_ONCE(hugepoison_narrow_policy) ?
			  "[page] hugepage\n" : "page [hugepage]\n");
}

static ssize_t containment_store(struct kobject *kobj,
				 struct kobj_attribute *attr, const char *buf,
				 size_t count)
{
	int ret = sysfs_match_string(hugepoison_containments, buf);

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (ret < 0)
		return ret;
	WRITE_ONCE(hugepoison_narrow_policy, ret);
	return count;
}

static struct kobj_attribute containment_attr = __ATTR_RW(containment);

static ssize_t replace_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", hugepoison_pool_replacing());
}

static ssize_t replace_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	bool replace;
	int ret = kstrtobool(buf, &replace);

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (ret)
		return ret;
	hugepoison_pool_set_replacing(replace);
	return count;
}

static struct kobj_attribute replace_attr = __ATTR_RW(replace);

static struct attribute *hugepoison_attrs[] = {
	&containment_attr.attr,
	&replace_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(hugepoison);

static int __init hugepoison_add_nodes(struct kobject *parent)
{
	struct kobject *node;
	char name[sizeof("node") + 10];
	int nid, ret;

	for_each_node_state(nid, N_MEMORY) {
		snprintf(name, sizeof(name), "node%d", nid);
		node = kobject_create_and_add(name, parent);
		ret = node ? hugepoison_add_sizes(node, nid) : -ENOMEM;
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * The handler works without these files. After a failure the others stay: a partial view
 * is better than none.
 */
static int __init hugepoison_init_sysfs(void)
{
	struct kobject *root;
	struct hstate *h;
	int ret = -ENOMEM;

	for_each_hstate(h)
		hugepoison_counts[hstate_index(h)] =
			kcalloc(nr_node_ids, sizeof(struct hugepoison_counts),
				GFP_KERNEL);
	hugepoison_init_files();
	root = kobject_create_and_add("hugepoison", mm_kobj);
	if (root)
		ret = sysfs_create_groups(root, hugepoison_groups);
	if (!ret)
		ret = hugepoison_add_sizes(root, NUMA_NO_NODE);
	if (!ret)
		ret = hugepoison_add_nodes(root);
	if (ret)
		pr_err("some files of /sys/kernel/mm/hugepoison are missing: %d\n",
		       ret);
	return ret;
}
late_initcall(hugepoison_init_sysfs);
