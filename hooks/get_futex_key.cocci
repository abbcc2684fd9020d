// A shared futex is known by file and index of its page. A page that stands in for a raw
// one has neither, so the hook asks the raw page.
// file: kernel/futex/core.c
// hunks: 1
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
