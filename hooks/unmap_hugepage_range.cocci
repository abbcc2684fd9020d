// The hwpoison entry of a private mapping keeps the hugepage: it goes with the
// reference. Where one hugepage is to be unmapped and no other (ref_page), a
// hwpoison entry is none of it.
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
+ hugepoison_clear_entry(E1, E2, E3, E4, ref_page)
  ...>
  }
