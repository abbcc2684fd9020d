// Zeroing a part of a hugepage takes the folio lock under i_mmap_rwsem; the error
// handler takes i_mmap_rwsem under the folio lock. That can deadlock, also on a
// stock kernel.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
expression E1, E2, E3;
@@
  hugetlbfs_zero_partial_page(...)
  {
  <...
- filemap_lock_hugetlb_folio(E1, E2, E3)
+ hugepoison_lock_folio(E1, E2, E3)
  ...>
  }
