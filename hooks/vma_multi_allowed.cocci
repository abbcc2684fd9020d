// mremap() moves several mappings at once if all of them keep the address that is asked for, as
// hugetlb does: what was one mapping before the error moves as one after it. Refusing the
// narrowed part would leave the parts before it moved.
// file: mm/mremap.c
// hunks: 1
@@
expression E;
@@
  vma_multi_allowed(...)
  {
  <...
- is_vm_hugetlb_page(E)
+ hugepoison_vma_is_hugetlb(E)
  ...>
  }
