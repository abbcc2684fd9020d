// Punching a part of a hugepage writes zeros there, but must not write to a raw
// page: that would be a machine check in the kernel.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
expression E1, E2, E3;
@@
  hugetlbfs_zero_partial_page(...)
  {
  <...
- folio_zero_segment(E1, E2, E3)
+ hugepoison_zero_segment(E1, E2, E3)
  ...>
  }
