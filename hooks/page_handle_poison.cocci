// Soft offlining a page of a free hugepage costs the pool that hugepage, and fails
// if it is reserved. Here the pool gets another one.
// file: mm/memory-failure.c
// hunks: 1
@@
expression page;
@@
  page_handle_poison(...)
  {
  <...
- __page_handle_poison(page)
+ hugepoison_page_handle_poison(page)
  ...>
  }
