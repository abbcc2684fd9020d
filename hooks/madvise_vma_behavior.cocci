// MADV_DODUMP is for hugetlb and for ordinary mappings. A narrowed one is marked
// as special, so that nothing merges with it.
// file: mm/madvise.c
// hunks: 1
@@
expression E;
@@
  madvise_vma_behavior(...)
  {
  <...
- is_vm_hugetlb_page(E)
+ hugepoison_vma_is_hugetlb(E)
  ...>
  }
