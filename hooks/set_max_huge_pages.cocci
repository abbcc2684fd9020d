// Root has resized the pool: the worker must not add what errors took before, also
// where root wrote the size that the pool had.
// file: mm/hugetlb.c
// hunks: 1
@@
identifier h, nid;
@@
  set_max_huge_pages(struct hstate *h, unsigned long count, int nid, ...)
  {
  <...
  h->max_huge_pages = persistent_huge_pages(h);
+ hugepoison_pool_resized(h, nid);
  ...>
  }
