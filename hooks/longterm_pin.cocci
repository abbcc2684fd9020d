// A long-term pin first migrates pages that may have to move. A poisoned hugepage
// is never moved, so pin it where it is: else the pin would be tried for ever.
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
