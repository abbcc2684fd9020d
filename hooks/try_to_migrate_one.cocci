// A hugepage that was being migrated when its error came is not contained yet. It
// gets migration entries as any other: with stock's hwpoison entries each mapper
// would lose all of it, though the copy may well be whole.
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
