// Discarding a hugetlb mapping rounds its end down to whole hugepages. If that
// would skip a part with an error the advice fails instead, see do_madvise.cocci.
// file: mm/madvise.c
// hunks: 1
@@
identifier vma, range;
expression E;
@@
  madvise_dontneed_free_valid_vma(...)
  {
  ...
  struct vm_area_struct *vma = ...;
  ...
  struct madvise_behavior_range *range = ...;
  ...
- range->end = ALIGN_DOWN(range->end, E);
-
- return true;
+ return hugepoison_discard_end(vma, &range->end, E);
  }
