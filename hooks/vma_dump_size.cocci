// What a core dump has of hugetlb memory is the user's choice, narrowed or not.
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
