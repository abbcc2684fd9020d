// What is discarded of a hugetlb mapping is rounded down to whole hugepages. Not
// where that leaves out a part with an error: the advice fails, see do_madvise.
// file: mm/madvise.c
// hunks: 1
@@
identifier vma, end;
expression E;
@@
  madvise_dontneed_free_valid_vma(struct vm_area_struct *vma, ..., unsigned long *end, ...)
  {
  ...
+ if (hugepoison_cuts_poison(vma, *end))
+ 	return false;
  *end = ALIGN_DOWN(*end, E);
  ...
  }
