// Punching a part of a hugepage writes zeros there; not over a raw page.
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
