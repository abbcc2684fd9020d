// The hwpoison entry of a private mapping keeps the hugepage: clearing it drops the
// reference. If only one hugepage (ref_page) is to be unmapped, a hwpoison entry
// does not map it and stays.
// file: mm/hugetlb.c
// hunks: 1
@@
expression E1, E2, E3, E4;
symbol ref_page;
@@
  __unmap_hugepage_range(...)
  {
  <...
- huge_pte_clear(E1, E2, E3, E4)
+ hugepoison_clear_entry(E1, E2, E4, ref_page, E3)
  ...>
  }
