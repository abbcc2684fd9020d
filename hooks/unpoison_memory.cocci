// Stock clears the flag of the one page it was given: with a tail page of a
// hugepage that is all it does, and the marks of the others stay. What this
// project's records know of is undone by it.
// file: mm/memory-failure.c
// hunks: 1
@@
symbol ret;
identifier pfn, p;
@@
  int unpoison_memory(unsigned long pfn)
  {
  ...
+ if (hugepoison_unpoison(pfn, &ret))
+ 	return ret;
  p = pfn_to_online_page(pfn);
  ...
  }
