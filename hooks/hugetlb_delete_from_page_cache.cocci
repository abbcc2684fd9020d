// When a file drops a poisoned hugepage, what stands in for its raw pages goes with it,
// and the worker releases its healthy pages.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
identifier folio;
@@
  hugetlb_delete_from_page_cache(struct folio *folio)
  {
  ...
+ hugepoison_delete(folio);
  filemap_remove_folio(folio);
+ hugepoison_deleted(folio);
  }
