// memory_failure() passes every error to the hugepage half of the handler first, as
// it did to stock's, which is still called with CONFIG_HUGEPOISON=n.
// file: mm/memory-failure.c
// hunks: 1
@@
expression pfn, flags;
@@
  int memory_failure(...)
  {
  <...
- try_memory_failure_hugetlb(pfn, flags)
+ hugepoison_try_memory_failure(pfn, flags, try_memory_failure_hugetlb(pfn, flags))
  ...>
  }
