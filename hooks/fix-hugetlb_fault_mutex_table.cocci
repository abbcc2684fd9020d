// For fix-hugetlb_vmtruncate: truncation has to know how many fault mutexes there are.
// file: include/linux/hugetlb.h
// hunks: 1
@@
symbol hugetlb_fault_mutex_table, num_fault_mutexes;
@@
  extern struct mutex *hugetlb_fault_mutex_table;
+ extern int num_fault_mutexes;
