// A hugetlb mapping can discard whole hugepages only. If the advice fails and there
// is an error, narrow the range, so that its raw page can be discarded alone. Narrowing
// takes mmap_lock, so the advice has to have dropped its locks. Each further round has
// narrowed a hugepage, so the rounds end. Other threads can map a poisoned hugepage again
// and again: so no round calls the next one: they would choose how deep. One more round is
// for advice that failed just before the worker narrowed the hugepage.
// file: mm/madvise.c
// hunks: 3
@@
identifier mm, start, len, behavior, error, mb;
@@
  do_madvise(struct mm_struct *mm, unsigned long start, size_t len, int behavior)
  {
+ bool raced = false, again;
  ...
+ hugepoison_again:
  error = madvise_lock(&mb);
  ...
  madvise_unlock(&mb);
+ again = hugepoison_advise_again(mb.mm, start, len, mb.behavior, error, &raced);
+ if (again)
+ 	goto hugepoison_again;
  return error;
  }
