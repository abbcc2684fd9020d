// All locks of an address space are taken, those of hugetlb files first: page
// tables are allocated under them, and reclaim then takes locks of other files. A
// narrowed VMA's file still is a hugetlb file, and its lock has to come as early.
// file: mm/vma.c
// hunks: 2
@@
expression E;
@@
  mm_take_all_locks(...)
  {
  <...
- is_vm_hugetlb_page(E)
+ hugepoison_vma_is_hugetlb(E)
  ...>
  }
