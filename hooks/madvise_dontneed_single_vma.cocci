// What a process discards of a private hugepage it does not get back by the next
// fault.
// file: mm/madvise.c
// hunks: 1
@@
identifier vma, start, end;
@@
  madvise_dontneed_single_vma(struct vm_area_struct *vma, unsigned long start, unsigned long end)
  {
+ hugepoison_prepare_discard(vma, start, end);
  ...
  }
