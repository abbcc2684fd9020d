// Migration isolates many hugepages before it moves the first one. A hugepage that an
// error narrows meanwhile has entries that remove_migration_pte() does not know: it
// would put the head page in the place of each healthy page.
// file: mm/migrate.c
// hunks: 1
@@
symbol src;
@@
  unmap_and_move_hugetlb_folio(...)
  {
  <...
- hugetlb_folio_subpool(src) && !folio_mapping(src)
+ (hugetlb_folio_subpool(src) && !folio_mapping(src)) || hugepoison_cannot_move(src)
  ...>
  }
