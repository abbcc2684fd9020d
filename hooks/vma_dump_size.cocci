// Whether a core dump has hugetlb memory is the user's choice, also for a narrowed
// mapping.
// file: fs/coredump.c
// hunks: 1
@@
expression E;
@@
  vma_dump_size(...)
  {
  <...
- is_vm_hugetlb_page(E)
+ hugepoison_vma_is_hugetlb(E)
  ...>
  }
