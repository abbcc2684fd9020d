// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory errors in hugepages: /proc/hugepoison/.
 *
 * Bad pages, one a line:
 *  - bad_pages: all, by page frame. For CAP_SYS_ADMIN.
 *  - own: those of the reader's address space, by address. For anybody. Writing to it fills
 *    them again.
 *
 * bad_pages reads the records under mf_mutex. own takes neither mf_mutex nor a folio
 * lock, so that reading it cannot delay the error handler: it shows what a page fault
 * would find.
 */
#ifdef CONFIG_PROC_FS
#include <linux/dcache.h>
#include <linux/init.h>
#include <linux/kdev_t.h>
#include <linux/memory_hotplug.h>
#include <linux/pagemap.h>
#include <linux/proc_fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>

#include "internal.h"

/* Characters that would split a name into words or lines. */
#define HUGEPOISON_ESCAPED	" \t\n\\"

/* --- bad_pages ------------------------------------------------------------ */

/* The state of a bad page, in a word. */
static const char *hugepoison_state(struct hugepoison_record *record,
				    unsigned long pfn)
{
	/* good memory, refilled or not: tools must not take it for bad */
	if (hugepoison_is_lost(record, pfn))
		return "lost";
	if (hugepoison_is_refilled(pfn_to_page(pfn)))
		return "refilled";
	if (hugepoison_is(record, HUGEPOISON_STATE_RELEASED))
		return "released";
	if (hugepoison_is_whole(record->state))
		return "contained";
	return hugepoison_is(record, HUGEPOISON_STATE_NARROWED) ? "narrowed" :
								  "failed";
}

/* A dentry of the file, if possible one that is not unlinked, or NULL. */
static struct dentry *hugepoison_alias(struct inode *inode)
{
	struct dentry *dentry, *alias = NULL;

	lockdep_assert_held(&inode->i_lock);
	for_each_alias(dentry, inode) {
		alias = dentry;
		if (!d_unhashed(dentry))
			break;
	}
	return alias;
}

/*
 * Show device, inode number and path from the file system's root; for a file without a
 * path (memfd, SysV) its name.
 *
 * The folio lock keeps the inode, as evicting it removes each folio from the page cache
 * under that lock. i_lock keeps the dentry, which leaves its inode under i_lock before
 * it is freed. A reference to the dentry would do harm: it might be the last one, and
 * would block umount.
 */
static void hugepoison_show_file(struct seq_file *m, struct inode *inode)
{
	struct dentry *alias;

	seq_printf(m, "%u:%u %llu ", MAJOR(inode->i_sb->s_dev),
		   MINOR(inode->i_sb->s_dev), (u64)inode->i_ino);
	spin_lock(&inode->i_lock);
	alias = hugepoison_alias(inode);
	if (!alias)
		seq_putc(m, '-');
	else if (IS_ROOT(alias))
		seq_escape(m, alias->d_name.name, HUGEPOISON_ESCAPED);
	else
		seq_dentry(m, alias, HUGEPOISON_ESCAPED);
	spin_unlock(&inode->i_lock);
}

/* Show the hugepage's owner. One reference is the handler's, or this reader's. */
static void hugepoison_show_owner(struct seq_file *m, struct folio *folio)
{
	struct address_space *mapping = folio_mapping(folio);

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (mapping)
		hugepoison_show_file(m, mapping->host);
	else if (folio_test_anon(folio) && folio_ref_count(folio) > 1)
		seq_puts(m, "anon");
	else
		seq_putc(m, '-');
}

/* Show one bad page; @folio is its hugepage, locked, or NULL if it has no owner. */
static void hugepoison_show_page(struct seq_file *m,
				 struct hugepoison_record *record,
				 unsigned long pfn, struct folio *folio)
{
	seq_printf(m, "%#lx %lu %d %s ", pfn, PAGE_SIZE << record->order >> 10,
		   record->nid, hugepoison_state(record, pfn));
	if (folio)
		hugepoison_show_owner(m, folio);
	else
		seq_putc(m, '-');
	seq_putc(m, '\n');
}

/* Show the raw pages of a hugepage, or the hugepage if its list is unreliable. */
static void hugepoison_show_raw_pages(struct seq_file *m,
				      struct hugepoison_record *record,
				      struct folio *folio)
{
	unsigned long i;

	if (folio_test_hugetlb_raw_hwp_unreliable(folio)) {
		hugepoison_show_page(m, record, record->pfn, folio);
		return;
	}
	for (i = hugepoison_next_raw(folio, 0); i < folio_nr_pages(folio);
	     i = hugepoison_next_raw(folio, i + 1))
		hugepoison_show_page(m, record, record->pfn + i, folio);
}

/*
 * Show the pages of a record. With the handler's reference the folio stays a hugepage
 * while mf_mutex is held; else this takes a reference. Without one (the hugepage is free,
 * and the worker has yet to isolate it) and with a folio that stays locked, one line
 * shows the whole hugepage. Of offline memory only the record is left.
 */
static void hugepoison_show_record(struct seq_file *m,
				   struct hugepoison_record *record)
{
	bool referenced = record->referenced;
	struct folio *folio;

	lockdep_assert_held(&mf_mutex);
	if (hugepoison_stale(record))
		return;
	folio = pfn_to_online_page(record->pfn) ? pfn_folio(record->pfn) : NULL;
	if (hugepoison_is(record, HUGEPOISON_STATE_RELEASED) || !folio ||
	    (!referenced && !folio_try_get(folio))) {
		hugepoison_show_page(m, record, record->pfn, NULL);
		return;
	}
	/* before the reference was taken the folio may have been freed and reused */
	if (hugepoison_stale(record)) {
		/* nothing to show */
	} else if (hugepoison_lock_poisoned(record, folio)) {
		hugepoison_show_raw_pages(m, record, folio);
		folio_unlock(folio);
	} else {
		hugepoison_show_page(m, record, record->pfn, NULL);
	}
	if (!referenced)
		folio_put(folio);
}

/* Position 0 is the header, each further one a chain of the hash table. */
static void *hugepoison_bad_at(loff_t pos)
{
	if (!pos)
		return SEQ_START_TOKEN;
	if (pos > HASH_SIZE(hugepoison_records))
		return NULL;
	return &hugepoison_records[pos - 1];
}

/*
 * mf_mutex is held for one buffer's worth of the list, not for all. Raw pages of
 * hugepages just dissolved get their records first, to be in the list.
 */
static void *hugepoison_bad_start(struct seq_file *m, loff_t *pos)
{
	mutex_lock(&mf_mutex);
	hugepoison_record_released();
	return hugepoison_bad_at(*pos);
}

static void *hugepoison_bad_next(struct seq_file *m, void *v, loff_t *pos)
{
	return hugepoison_bad_at(++*pos);
}

static void hugepoison_bad_stop(struct seq_file *m, void *v)
{
	mutex_unlock(&mf_mutex);
}

static int hugepoison_bad_show(struct seq_file *m, void *v)
{
	struct hugepoison_record *record;
	struct hlist_head *chain = v;

	if (v == SEQ_START_TOKEN) {
		seq_puts(m, "pfn kB node state owner\n");
		return 0;
	}
	hlist_for_each_entry(record, chain, node)
		hugepoison_show_record(m, record);
	return 0;
}

static const struct seq_operations hugepoison_bad_ops = {
	.start = hugepoison_bad_start,
	.next = hugepoison_bad_next,
	.stop = hugepoison_bad_stop,
	.show = hugepoison_bad_show,
};

/* The list shows page frames and files of all containers: root's uid is not enough. */
static int hugepoison_bad_open(struct inode *inode, struct file *file)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return seq_open(file, &hugepoison_bad_ops);
}

static const struct proc_ops hugepoison_bad_proc_ops = {
	.proc_open = hugepoison_bad_open,
	.proc_read_iter = seq_read_iter,
	.proc_lseek = seq_lseek,
	.proc_release = seq_release,
};

/* --- own ------------------------------------------------------------------ */

/**
 * struct hugepoison_own_walk - a walk of the mappings of the process that opened the file
 * @mm: its address space, which may have no users by now
 * @locked: @mm has users and its mmap_lock is held for reading
 * @vma: the VMA with a bad page
 * @address: of the hugepage in it
 * @size: of the hugepage, in bytes
 * @fate: the raw pages are bad (HUGEPOISON_NARROW), or all (HUGEPOISON_WIDE)
 */
struct hugepoison_own_walk {
	struct mm_struct *mm;
	bool locked;
	struct vm_area_struct *vma;
	unsigned long address;
	unsigned long size;
	enum hugepoison_fate fate;
};

/* Find the first hugepage with a bad page in one mapping, from an address on. */
static bool hugepoison_own_find_in(struct hugepoison_own_walk *walk,
				   struct vm_area_struct *vma,
				   unsigned long address)
{
	unsigned long size = huge_page_size(hstate_vma(vma));

	walk->vma = vma;
	walk->size = size;
	/* @address was the end of a hugepage; the mappings may have changed since */
	address = ALIGN_DOWN(max(address, vma->vm_start), size);
	/* a sparse mapping may have 64 million hugepages to visit */
	for (; address < vma->vm_end && !fatal_signal_pending(current);
	     address += size) {
		walk->address = address;
		walk->fate = hugepoison_mapping_fate(vma, address);
		if (walk->fate == HUGEPOISON_NARROW ||
		    walk->fate == HUGEPOISON_WIDE)
			return true;
		cond_resched();
	}
	return false;
}

/*
 * Find the next hugepage with a bad page; *@pos is its address + 1. Return: NULL for none,
 * ERR_PTR(-EINTR) if the reader is killed: it holds mmap_lock, and others may wait for it.
 */
static void *hugepoison_own_find(struct hugepoison_own_walk *walk,
				 unsigned long address, loff_t *pos)
{
	VMA_ITERATOR(vmi, walk->mm, address);
	struct vm_area_struct *vma;

	mmap_assert_locked(walk->mm);
	*pos = address + 1;
	for_each_vma(vmi, vma) {
		if (fatal_signal_pending(current))
			return ERR_PTR(-EINTR);
		if (!hugepoison_vma_is_hugetlb(vma) ||
		    !hugepoison_own_find_in(walk, vma, address))
			continue;
		*pos = walk->address + 1;
		return walk;
	}
	return NULL;
}

static void *hugepoison_own_start(struct seq_file *m, loff_t *pos)
{
	struct hugepoison_own_walk *walk = m->private;

	if (!mmget_not_zero(walk->mm))
		return NULL;
	if (mmap_read_lock_killable(walk->mm)) {
		mmput(walk->mm);
		return ERR_PTR(-EINTR);
	}
	walk->locked = true;
	return *pos ? hugepoison_own_find(walk, *pos - 1, pos) : SEQ_START_TOKEN;
}

static void *hugepoison_own_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct hugepoison_own_walk *walk = m->private;

	return hugepoison_own_find(walk, *pos ? walk->address + walk->size : 0,
				   pos);
}

static void hugepoison_own_stop(struct seq_file *m, void *v)
{
	struct hugepoison_own_walk *walk = m->private;

	if (!walk->locked)
		return;
	walk->locked = false;
	mmap_read_unlock(walk->mm);
	mmput(walk->mm);
}

static void hugepoison_own_line(struct seq_file *m, unsigned long address,
				unsigned long size, const char *state)
{
	seq_printf(m, "%08lx-%08lx %lu %s\n", address, address + size,
		   size >> 10, state);
}

/* Show the bad pages of a private mapping's hugepage. */
static void hugepoison_own_private_pages(struct seq_file *m,
					 struct hugepoison_own_walk *walk)
{
	unsigned long at;

	for (at = walk->address; at < walk->address + walk->size; at += PAGE_SIZE) {
		if (fatal_signal_pending(current))
			return;
		if (hugepoison_private_is_poisoned(walk->vma, at))
			hugepoison_own_line(m, at, PAGE_SIZE, "narrowed");
		if (IS_ALIGNED(at, PMD_SIZE))
			cond_resched();
	}
}

/* The first bad subpage from @from on that no page stands in for. */
static unsigned long hugepoison_next_lost_locked(struct folio *folio,
						 unsigned long from)
{
	unsigned long next = hugepoison_next_raw_locked(folio, from);

	while (next < folio_nr_pages(folio) &&
	       hugepoison_is_refilled(folio_page(folio, next)))
		next = hugepoison_next_raw_locked(folio, next + 1);
	return next;
}

/*
 * The first lost subpage of a narrowed hugepage from @from on; its number of pages if
 * there is none, or the file no longer has the hugepage. hugetlb_lock keeps it a
 * hugepage.
 */
static unsigned long hugepoison_own_next_raw(struct hugepoison_own_walk *walk,
					     unsigned long from)
{
	struct address_space *mapping = walk->vma->vm_file->f_mapping;
	unsigned long next = walk->size >> PAGE_SHIFT;
	struct folio *folio;

	rcu_read_lock();
	folio = hugepoison_peek_at(mapping,
				   linear_page_index(walk->vma, walk->address));
	if (folio) {
		spin_lock_irq(&hugetlb_lock);
		if (folio_test_hugetlb(folio) && folio_size(folio) == walk->size)
			next = hugepoison_next_lost_locked(folio, from);
		spin_unlock_irq(&hugetlb_lock);
	}
	rcu_read_unlock();
	return next;
}

/*
 * Show the raw pages of a narrowed hugepage. The folio lock is not taken: the error
 * handler would queue for it behind a thousand readers.
 */
static void hugepoison_own_raw_pages(struct seq_file *m,
				     struct hugepoison_own_walk *walk)
{
	unsigned long i;

	if (!(walk->vma->vm_flags & VM_MAYSHARE)) {
		hugepoison_own_private_pages(m, walk);
		return;
	}
	for (i = hugepoison_own_next_raw(walk, 0); i < walk->size >> PAGE_SHIFT;
	     i = hugepoison_own_next_raw(walk, i + 1))
		hugepoison_own_line(m, walk->address + (i << PAGE_SHIFT),
				    PAGE_SIZE, "narrowed");
}

static int hugepoison_own_show(struct seq_file *m, void *v)
{
	struct hugepoison_own_walk *walk = m->private;

	if (v == SEQ_START_TOKEN)
		seq_puts(m, "address kB state\n");
	else if (walk->fate == HUGEPOISON_NARROW)
		hugepoison_own_raw_pages(m, walk);
	else
		hugepoison_own_line(m, walk->address, walk->size, "contained");
	return 0;
}

static const struct seq_operations hugepoison_own_ops = {
	.start = hugepoison_own_start,
	.next = hugepoison_own_next,
	.stop = hugepoison_own_stop,
	.show = hugepoison_own_show,
};

/*
 * Fill lost pages again: the file's offset is the address of the first, as in
 * /proc/PID/mem. Each page changes at once, for all that map it. Only the process that has
 * opened the file may: otherwise whoever passes the file on, as standard output of a
 * program with more rights, would have that program write to its memory.
 *
 * Return: bytes of the pages that were filled; if there is none why the first one was not.
 */
static ssize_t hugepoison_own_write(struct file *file, const char __user *from,
				    size_t len, loff_t *pos)
{
	struct seq_file *m = file->private_data;
	struct hugepoison_own_walk *walk = m->private;
	size_t done = 0;
	int ret = 0;

	if (current->mm != walk->mm)
		return -EPERM;
	if (!len || !IS_ALIGNED(*pos, PAGE_SIZE) || !IS_ALIGNED(len, PAGE_SIZE))
		return -EINVAL;
	while (!ret && done < len) {
		ret = hugepoison_refill(walk->mm, *pos + done, from + done);
		if (!ret)
			done += PAGE_SIZE;
		cond_resched();
	}
	*pos += done;
	return done ?: ret;
}

/*
 * The file shows the process that has opened it, also to a process that the file is
 * passed on to: as with /proc/self/maps.
 */
static int hugepoison_own_open(struct inode *inode, struct file *file)
{
	struct hugepoison_own_walk *walk;

	if (!current->mm)
		return -ESRCH;
	walk = __seq_open_private(file, &hugepoison_own_ops, sizeof(*walk));
	if (!walk)
		return -ENOMEM;
	walk->mm = current->mm;
	mmgrab(walk->mm);
	/* seq_open() takes it away: its own files cannot be written */
	if (file->f_mode & FMODE_WRITE)
		file->f_mode |= FMODE_PWRITE;
	return 0;
}

static int hugepoison_own_release(struct inode *inode, struct file *file)
{
	struct seq_file *m = file->private_data;
	struct hugepoison_own_walk *walk = m->private;

	mmdrop(walk->mm);
	return seq_release_private(inode, file);
}

static const struct proc_ops hugepoison_own_proc_ops = {
	.proc_open = hugepoison_own_open,
	.proc_read_iter = seq_read_iter,
	.proc_write = hugepoison_own_write,
	.proc_lseek = seq_lseek,
	.proc_release = hugepoison_own_release,
};

static int __init hugepoison_init_proc(void)
{
	struct proc_dir_entry *dir = proc_mkdir("hugepoison", NULL);

	if (dir &&
	    proc_create("bad_pages", 0400, dir, &hugepoison_bad_proc_ops) &&
	    proc_create("own", 0666, dir, &hugepoison_own_proc_ops))
		return 0;
	pr_err("some files of /proc/hugepoison are missing\n");
	return -ENOMEM;
}
late_initcall(hugepoison_init_proc);
#endif /* CONFIG_PROC_FS */
