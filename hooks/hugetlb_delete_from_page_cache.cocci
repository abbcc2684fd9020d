// A file has let go of a poisoned hugepage: its healthy pages are released.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
identifier folio;
@@
  hugetlb_delete_from_page_cache(struct folio *folio)
  {
  ...
  filemap_remove_folio(folio);
+ hugepoison_deleted(folio);
  }
