// For fix-hugetlb_vmtruncate: truncation has to know how many fault mutexes there are.
// file: mm/hugetlb.c
// hunks: 1
@@
attribute name __ro_after_init;
symbol num_fault_mutexes;
@@
- static
  int num_fault_mutexes __ro_after_init;
