// The same for a block of a 1 GiB page, which one entry maps: it counts as one.
// file: mm/rmap.c
// hunks: 1
@@
symbol folio;
@@
  __folio_remove_rmap(...)
  {
  <...
+ if (hugepoison_small_rmap_large(folio)) {
+ 	hugepoison_remove_rmap(folio, 1);
+ 	break;
+ }
  atomic_dec(&folio->_large_mapcount);
  ...>
  }
