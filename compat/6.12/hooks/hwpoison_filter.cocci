// Adds the injector's filters by hugepage size and hugetlb cgroup after the others.
// The second definition, without an injector, does not match: it has no statement
// before its return.
// file: mm/memory-failure.c
// hunks: 1
@@
identifier p;
@@
  int hwpoison_filter(struct page *p)
  {
  ...
  if (hwpoison_filter_task(p))
  	return -EINVAL;
+ if (hugepoison_filter(p))
+ 	return -EINVAL;
  ...
  }
