// See hooks/do_madvise.cocci. mmap_lock is dropped here.
// file: mm/madvise.c
// hunks: 3
@@
identifier mm, start, len, behavior, error, write;
@@
  do_madvise(struct mm_struct *mm, unsigned long start, size_t len, int behavior)
  {
+ bool raced = false;
  ...
+ hugepoison_again:
  write = madvise_need_mmap_write(behavior);
  ... when any
+ if (hugepoison_advise_again(mm, start, len, behavior, error, &raced))
+ 	goto hugepoison_again;
  return error;
  }
