// A heal has its fresh hugepage in the file, locked, before it is filled, and may take it out
// again. Other lookups wait for the folio lock; this one takes none: a buffer would see what
// its former owner left there, and keep a hugepage that is in no file. A poisoned hugepage is
// refused: a device would read what is in the raw page's place.
// file: mm/gup.c
// hunks: 2
@@
expression E1, E2, E3, E4;
@@
  memfd_pin_folios(...)
  {
  <...
- filemap_get_folios_contig(E1, E2, E3, E4)
+ hugepoison_get_folios_contig(E1, E2, E3, E4)
  ...>
  }

@@
expression E1, E2;
identifier ret;
@@
  memfd_pin_folios(...)
  {
  <...
- ret = check_and_migrate_movable_folios(E1, E2);
+ ret = hugepoison_refuse_folios(E2, E1);
+ if (!ret)
+ 	ret = check_and_migrate_movable_folios(E1, E2);
  ...>
  }
