// See hooks/memory_failure.cocci. An argument says here whether the page is in a hugepage,
// and -ENOENT the contrary in 7.3 and from ours.
// file: mm/memory-failure.c
// hunks: 1
@@
expression pfn, flags;
symbol res, hugetlb;
@@
  int memory_failure(...)
  {
  <...
- res = try_memory_failure_hugetlb(pfn, flags, &hugetlb);
+ res = hugepoison_try_memory_failure(pfn, flags,
+ 				    try_memory_failure_hugetlb(pfn, flags, &hugetlb));
- if (hugetlb)
+ if (IS_ENABLED(CONFIG_HUGEPOISON) ? res != -ENOENT : hugetlb)
  	goto unlock_mutex;
  ...>
  }
