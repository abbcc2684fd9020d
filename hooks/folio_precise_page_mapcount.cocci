// Statistics read the mapcount of a page. A hugepage mapped below its size has none
// for each page.
// file: fs/proc/internal.h
// hunks: 1
@@
identifier folio;
symbol mapcount;
@@
  folio_precise_page_mapcount(struct folio *folio, ...)
  {
  ...
+ if (hugepoison_small_rmap(folio))
+ 	return hugepoison_mapcount(folio);
  if (page_mapcount_is_type(mapcount))
  	mapcount = 0;
  ...
  }
