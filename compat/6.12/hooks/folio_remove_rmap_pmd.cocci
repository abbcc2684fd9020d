// As folio_remove_rmap.cocci, for a PMD that maps a block of a 1 GiB page: it
// counts as one mapping.
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
