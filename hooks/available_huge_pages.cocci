// More may be reserved than is free once an error took a hugepage that nothing
// replaces. The difference then must not wrap to very many: somebody without a
// reservation would be given what is promised to others.
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
