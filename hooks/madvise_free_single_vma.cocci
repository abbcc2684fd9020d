// MADV_FREE is for anonymous memory. What was a private hugepage is such since it
// was narrowed, though its mapping still says whose file it was.
// file: mm/madvise.c
// hunks: 1
@@
identifier vma;
@@
  madvise_free_single_vma(struct vm_area_struct *vma, ...)
  {
  ...
- if (!vma_is_anonymous(vma))
+ if (!hugepoison_may_free(vma))
  	return -EINVAL;
  ...
  }
