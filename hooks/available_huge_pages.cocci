// After an error took a hugepage that cannot be replaced, more may be reserved than
// free. The difference must not wrap to a huge number: else a process without a
// reservation would get a hugepage that is reserved for others.
// file: mm/hugetlb.c
// hunks: 1
@@
identifier h;
@@
  available_huge_pages(struct hstate *h)
  {
- return h->free_huge_pages - h->resv_huge_pages;
+ return hugepoison_available(h->free_huge_pages, h->resv_huge_pages);
  }
