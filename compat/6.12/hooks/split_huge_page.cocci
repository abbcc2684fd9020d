// MADV_PAGEOUT and others split a large folio that they find partly mapped. A
// hugepage must not be split.
// file: mm/huge_memory.c
// hunks: 1
@@
identifier new_order;
symbol folio;
@@
  split_huge_page_to_list_to_order(..., unsigned int new_order)
  {
  ...
+ if (hugepoison_is_immovable(folio))
+ 	return -EBUSY;
  if (new_order >= folio_order(folio))
  	return -EINVAL;
  ...
  }
