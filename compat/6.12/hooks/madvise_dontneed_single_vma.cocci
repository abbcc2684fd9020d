// After a process has discarded pages of a private hugepage, the next fault must
// not map them again.
// file: mm/madvise.c
// hunks: 1
@@
identifier vma, start, end;
@@
  madvise_dontneed_single_vma(struct vm_area_struct *vma, unsigned long start, unsigned long end)
  {
+ hugepoison_prepare_discard(vma, &start, &end);
  ...
  }
