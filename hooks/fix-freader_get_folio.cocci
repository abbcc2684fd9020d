// Fixes a bug of stock Linux, with any CONFIG_HUGEPOISON. perf looks for the build ID of each
// file that a process maps, and reads the file's pages with plain loads. Where they lie in
// poisoned memory the machine check comes in the kernel, which panics. hugetlbfs keeps a
// poisoned hugepage in its file, so a user who has one only has to ask for build IDs of his
// own mappings. A file without them is reported as if it had none.
// file: lib/buildid.c
// hunks: 1
// fixes: de3ec364c3c3 ("lib/buildid: add single folio-based file reader abstraction")
@@
expression E;
@@
  freader_get_folio(...)
  {
  <...
- IS_ERR(E) || !folio_test_uptodate(E)
+ IS_ERR(E) || !folio_test_uptodate(E) || folio_contain_hwpoisoned_page(E)
  ...>
  }
