// Fixes a bug of stock Linux, with any CONFIG_HUGEPOISON. perf looks for the build ID of each
// file that a process maps, and reads the file's pages with plain loads. Where they lie in
// poisoned memory the machine check comes in the kernel, which panics. hugetlbfs keeps a
// poisoned hugepage in its file, so a user with such a file only has to ask for build IDs of
// his own mappings. perf reports the file as one without a build ID.
// file: lib/buildid.c
// hunks: 1
// fixes: de3ec364c3c3 ("lib/buildid: add single folio-based file reader abstraction")
@@
identifier r;
expression E;
@@
  freader_get_folio(struct freader *r, ...)
  {
  ...
  r->folio = E;
+ if (!IS_ERR(r->folio) && folio_contain_hwpoisoned_page(r->folio)) {
+ 	folio_put(r->folio);
+ 	r->folio = ERR_PTR(-EHWPOISON);
+ }
  ...
  }
