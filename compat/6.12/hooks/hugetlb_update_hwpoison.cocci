// An error that has no place in the list of raw pages costs all of the hugepage until
// the host restarts: its memory comes from a reserve. Where that is empty as well the
// raw pages that are known stay in the list, and stay counted.
// file: mm/memory-failure.c
// hunks: 2
@@
expression folio;
@@
  int hugetlb_update_hwpoison(...)
  {
  <...
(
- kmalloc(sizeof(struct raw_hwp_page), GFP_ATOMIC)
+ hugepoison_alloc_raw_entry(kmalloc(sizeof(struct raw_hwp_page), GFP_ATOMIC))
|
- __folio_free_raw_hwp(folio, false)
+ hugepoison_empty_raws(folio)
)
  ...>
  }
