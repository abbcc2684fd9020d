// Fixes a bug of stock Linux, with any CONFIG_HUGEPOISON. mremap() of a part of a
// private hugetlb mapping takes the reservation map from all of the old mapping.
// The rest of the reservation then belongs to no mapping and is never given back:
// any user can make a pool useless to all others. Take the map from the moved part
// only: unmapping that part of the old mapping gives its reservation back. The
// moved mapping has no reservation, like a child's.
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
