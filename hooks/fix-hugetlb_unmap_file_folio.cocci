// A bug of stock Linux, mended whatever CONFIG_HUGEPOISON says. What a private
// hugetlb VMA has in vm_private_data is a reservation map with flags in its low
// bits, and no hugetlb_vma_lock. Where trying for the map's semaphore failed, as
// the process was just in a page fault, a reference was taken and a semaphore
// waited for somewhere inside the map. A private VMA never shares page tables,
// and that is all that the lock is needed for here: i_mmap_rwsem keeps the VMA,
// its page table lock the entry, and the caller's fault mutex keeps faults away.
// file: fs/hugetlbfs/inode.c
// hunks: 1
// fixes: bf4916922c60 ("hugetlbfs: extend hugetlb_vma_lock to private VMAs")
@@
identifier vma, v_start, v_end;
expression E;
@@
  hugetlb_unmap_file_folio(...)
  {
  <...
+ /* Private VMAs have no such lock, and share no page tables. */
+ if (!__vma_shareable_lock(vma)) {
+ 	unmap_hugepage_range(vma, v_start, v_end, NULL,
+ 			     ZAP_FLAG_DROP_MARKER);
+ 	continue;
+ }
  if (!hugetlb_vma_trylock_write(vma)) {
  ...
  }
  unmap_hugepage_range(vma, v_start, v_end, NULL, E);
  ...>
  }
