// A heal has its fresh hugepage in the file, locked, before it is filled, and may take it out
// again. Other lookups wait for the folio lock; this one takes none: a buffer would see what
// its former owner left there, and keep a hugepage that is in no file.
// file: mm/gup.c
// hunks: 1
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
