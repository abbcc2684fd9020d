// See hooks/do_madvise.cocci. mmap_lock is dropped.
// file: mm/madvise.c
// hunks: 1
@@
identifier mm, start, len, behavior, error;
@@
  do_madvise(struct mm_struct *mm, unsigned long start, size_t len, int behavior)
  {
  ... when any
+ if (hugepoison_advise_again(mm, start, len, behavior, error))
+ 	return do_madvise(mm, start, len, behavior);
  return error;
  }
