// A hugetlb fault narrows here: both ways to find poison, the hwpoison entry and
// the poisoned hugepage in the file, return here.
// file: mm/memory.c
// hunks: 1
@@
expression E1, E2, E3, E4;
@@
  handle_mm_fault(...)
  {
  <...
- hugetlb_fault(E1, E2, E3, E4)
+ hugepoison_hugetlb_fault(E1, E2, E3, E4)
  ...>
  }
