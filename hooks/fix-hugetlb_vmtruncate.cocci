// Fixes a bug of stock Linux, with any CONFIG_HUGEPOISON. Truncation gives back the
// reservations of the truncated range, less the hugepages that remove_inode_hugepages()
// finds there. It was to wait, by the hugetlb VMA lock, for faults that have read the old
// size, but only tries for the lock. Such a fault has taken a hugepage for its reservation,
// and adds it later: the reservation is given back twice, resv_huge_pages stays one too
// small for ever, and wraps below zero. Any user can do it again and again.
//
// A fault reads the size with its fault mutex held, and holds it until the hugepage is
// in the page cache. After truncation has written the size it takes and drops the fault mutex of
// each hugepage between the new size and the old one: a fault that held it has ended, and its
// hugepage is found; the next fault reads the new size. The other mutexes are those of
// strangers, who can hold them for long; remove_inode_hugepages() would not wait for them
// either. Where the range has more hugepages than there are mutexes it is all of them. Only a
// mapped file has faults: a fault's VMA stays in i_mmap until the fault ends.
// remove_inode_hugepages() takes fault mutexes in the same order of locks.
// file: fs/hugetlbfs/inode.c
// hunks: 2
// fixes: fa27759af4a6 ("hugetlb: clean up code checking for fault/truncation races")
@@
identifier inode, offset;
@@
  hugetlb_vmtruncate(struct inode *inode, loff_t offset)
  {
+ 	const unsigned int shift = huge_page_shift(hstate_inode(inode));
+ 	const pgoff_t first = offset >> shift, end = i_size_read(inode) >> shift;
+ 	const pgoff_t nr = end > first ? end - first : 0;
+ 	u32 hash;
  ...
+ for (u32 i = 0; mapping_mapped(mapping) && i < nr && i < num_fault_mutexes; i++) {
+ 	hash = nr < num_fault_mutexes ? hugetlb_fault_mutex_hash(mapping, first + i) : i;
+ 	/* Wait for a fault that read the old size: what it adds is removed too. */
+ 	mutex_lock(&hugetlb_fault_mutex_table[hash]);
+ 	mutex_unlock(&hugetlb_fault_mutex_table[hash]);
+ }
  remove_inode_hugepages(...);
  }
