// Punching a raw page out of a hugepage gives the file good memory there, and keeps
// the healthy pages: a fresh hugepage takes the place of the poisoned one.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
identifier error;
expression E1, E2, E3;
@@
  hugetlbfs_fallocate(...)
  {
  <...
- error = hugetlbfs_punch_hole(E1, E2, E3);
+ error = hugepoison_heal_hole(E1, E2, E3) ?:
+ 	hugetlbfs_punch_hole(E1, E2, E3);
  ...>
  }
