// After a process has discarded pages of a private hugepage, the next fault must
// not map them again.
// file: mm/madvise.c
// hunks: 1
@@
identifier madv_behavior, range;
@@
  madvise_dontneed_single_vma(struct madvise_behavior *madv_behavior)
  {
  ...
  struct madvise_behavior_range *range = ...;
  ...
+ hugepoison_prepare_discard(madv_behavior->vma, &range->start, &range->end);
  zap_vma_range_batched(...);
  ...
  }
