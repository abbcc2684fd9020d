// As hugetlb_vmdelete_list.cocci, for a hugepage that a fault has mapped again
// during the truncation. A private page that was written since stays, as
// stock passes by a hugepage that was copied.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
identifier vma;
symbol start, end;
expression E1, E2;
@@
  hugetlb_unmap_file_folio(...)
  {
  <...
+ if (hugepoison_zap_hugepage(vma, start, end))
+ 	continue;
  if (!hugetlb_vma_maps_page(vma, E1, E2))
  	continue;
  ...>
  }
