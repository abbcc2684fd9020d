// A shared futex is known by file and index of its page. A page that stands in for a raw
// one has neither, so the hook asks the raw page. A heal takes the mapping of a hugepage that
// lives on in its fresh one: a futex there is not gone, but to be looked up again.
// file: kernel/futex/core.c
// hunks: 2
@@
identifier folio, page;
@@
  get_futex_key(...)
  {
  ...
+ page = hugepoison_file_page(page);
  folio = page_folio(page);
  ...
  }

@@
identifier folio, swizzled;
@@
  get_futex_key(...)
  {
  <...
  swizzled = folio_test_swapcache(folio) || folio->mapping;
+ swizzled |= hugepoison_has_left_file(folio);
  ...>
  }
