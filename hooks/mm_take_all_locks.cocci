// All locks of an address space are taken, those of hugetlb files first: page
// tables are allocated under these, and reclaim then takes other files' locks. A
// narrowed VMA's file is a hugetlb file still, and its lock comes as early.
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
