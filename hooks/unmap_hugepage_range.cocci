// A private mapping's hwpoison entry stands for the healthy pages that are kept
// for it. With the entry they go.
// file: mm/hugetlb.c
// hunks: 1
@@
expression E1, E2, E3, E4;
@@
  __unmap_hugepage_range(...)
  {
  <...
- huge_pte_clear(E1, E2, E3, E4)
+ hugepoison_clear_entry(E1, E2, E3, E4)
  ...>
  }
