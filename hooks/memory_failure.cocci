// memory_failure() hands every error to the hugepage half of the handler
// first, as it did to the stock one. The stock function stays what is called
// with CONFIG_HUGEPOISON=n.
// file: mm/memory-failure.c
// hunks: 1
@@
expression pfn, flags, hugetlb;
@@
  int memory_failure(...)
  {
  <...
- try_memory_failure_hugetlb(pfn, flags, hugetlb)
+ hugepoison_memory_failure(pfn, flags, hugetlb)
  ...>
  }
