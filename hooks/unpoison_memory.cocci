// Stock clears the flag of the given page only: for a tail page of a hugepage the
// other marks stay. Errors with a record are undone here.
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
