// memory_failure() passes every error to the hugepage half of the handler first, as
// it did to stock's, which is still called with CONFIG_HUGEPOISON=n.
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
