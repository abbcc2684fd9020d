// MADV_DODUMP works on hugetlb and on ordinary mappings. A narrowed one has
// VM_DONTEXPAND, so that it does not merge, and counts as special.
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
