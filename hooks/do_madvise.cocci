// A hugetlb mapping can discard whole hugepages only. If the advice fails and there
// is an error, narrow the range, so that its raw page can be discarded alone. Narrowing
// takes mmap_lock, so the advice has to have dropped its locks. Each further round has
// narrowed a hugepage, so the rounds end.
// file: mm/madvise.c
// hunks: 1
@@
identifier mm, start, len, behavior, error, mb;
@@
  do_madvise(struct mm_struct *mm, unsigned long start, size_t len, int behavior)
  {
  ...
  madvise_unlock(&mb);
+ if (hugepoison_advise_again(mm, start, len, behavior, error))
+ 	return do_madvise(mm, start, len, behavior);
  return error;
  }
