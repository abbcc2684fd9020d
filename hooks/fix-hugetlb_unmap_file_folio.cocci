// Fixes a bug of stock Linux, with any CONFIG_HUGEPOISON. A private hugetlb VMA's
// vm_private_data is a reservation map with flags in the low bits, not a
// hugetlb_vma_lock. If the trylock on it failed, because the process was in a page
// fault, stock took a reference and waited for a semaphore somewhere inside the
// map. A private VMA never shares page tables, and the lock is needed here for
// shared ones only: i_mmap_rwsem keeps the VMA, its page table lock the entry, and
// the caller's fault mutex keeps faults out.
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
