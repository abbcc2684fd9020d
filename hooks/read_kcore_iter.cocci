// A reader of all memory skips bad pages. One bad page in a hugepage is not all of
// it.
// file: fs/proc/kcore.c
// hunks: 1
@@
expression page;
@@
  read_kcore_iter(...)
  {
  <...
- is_page_hwpoison(page)
+ hugepoison_page_is_bad(page)
  ...>
  }
