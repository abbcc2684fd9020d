// Memory offlining passes over poisoned pages as nobody's. All subpages of a
// contained hugepage are marked, yet a file may still hold it: its memory block
// must not go away.
// file: mm/page_isolation.c
// hunks: 1
@@
identifier page;
@@
  __test_page_isolated_in_pageblock(...)
  {
  <...
- PageHWPoison(page)
+ hugepoison_page_is_isolated(page)
  ...>
  }
