// The handler keeps a poisoned hugepage longer than its mount lives. The hugepage must not
// point to the mount's subpool then, which stock frees here.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
expression E;
@@
  hugetlbfs_put_super(...)
  {
  <...
- hugepage_put_subpool(E)
+ hugepoison_put_subpool(E)
  ...>
  }
