// A hugepage that was being migrated when its error came is not contained yet, and
// gets migration entries like any other. With stock's hwpoison entries each mapping
// would lose all of it, though the copy may be intact.
// file: mm/rmap.c
// hunks: 1
@@
symbol folio, subpage;
@@
  try_to_migrate_one(...)
  {
  <...
- PageHWPoison(subpage)
+ hugepoison_gets_hwpoison_entry(folio, subpage)
  ...>
  }
