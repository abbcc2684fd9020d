// read(2) of a poisoned hugepage reads what stands in for a raw page that was refilled.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
expression E1, E2, E3, E4;
@@
  hugetlbfs_read_iter(...)
  {
  <...
- copy_folio_to_iter(E1, E2, E3, E4)
+ hugepoison_copy_to_iter(E1, E2, E3, E4)
  ...>
  }
