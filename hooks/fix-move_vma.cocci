// A bug of stock Linux, mended whatever CONFIG_HUGEPOISON says. mremap() of a part
// of a private hugetlb mapping takes the reservation map from all of the old
// mapping, and what was reserved for the rest of it stays promised to nobody for
// ever: any user can make a pool useless to all others. Take it from the part that
// moves: unmapping that part of the old mapping gives its reservation back. What
// moves has none any more, as the mapping of a child.
// file: mm/mremap.c
// hunks: 1
// fixes: 550a7d60bd5e ("mm, hugepages: add mremap() support for hugepage backed vma")
@@
identifier vma, new_vma;
@@
  move_vma(...)
  {
  ...
  new_vma = copy_vma(...);
  ...
  if (is_vm_hugetlb_page(vma)) {
- 	clear_vma_resv_huge_pages(vma);
+ 	clear_vma_resv_huge_pages(vma_pages(new_vma) < vma_pages(vma) ?
+ 				  new_vma : vma);
  }
  ...
  }
