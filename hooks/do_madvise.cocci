// Hugetlb mappings can be discarded by hugepages only. Where there is an error
// the range is narrowed before, so that its raw page can be discarded alone.
// file: mm/madvise.c
// hunks: 1
@@
identifier mm, start, len_in, behavior;
symbol write;
@@
  int do_madvise(struct mm_struct *mm, unsigned long start, size_t len_in, int behavior)
  {
  ...
+ hugepoison_madvise(mm, start, len_in, behavior);
  write = madvise_need_mmap_write(behavior);
  ...
  }
