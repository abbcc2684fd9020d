// A long-term pin migrates what may have to be moved. A poisoned hugepage is
// never moved, so may be pinned where it is; else the pin would be tried for ever.
// file: mm/gup.c
// hunks: 1
@@
identifier folio;
@@
  collect_longterm_unpinnable_folios(...)
  {
  <...
- if (folio_is_longterm_pinnable(folio))
+ if (folio_is_longterm_pinnable(folio) || hugepoison_is_immovable(folio))
  	continue;
  ...>
  }
