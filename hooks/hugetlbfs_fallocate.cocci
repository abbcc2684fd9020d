// Who punches the raw page out of a hugepage gets good memory there, and the
// healthy pages stay: a fresh hugepage takes the place of the poisoned one.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
expression E1, E2, E3;
@@
  hugetlbfs_fallocate(...)
  {
  <...
- return hugetlbfs_punch_hole(E1, E2, E3);
+ return hugepoison_heal_hole(E1, E2, E3) ?:
+        hugetlbfs_punch_hole(E1, E2, E3);
  ...>
  }
