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
identifier vrm, new_vma;
@@
  copy_vma_and_data(struct vma_remap_struct *vrm, ...)
  {
  ...
  new_vma = copy_vma(...);
  ...
- fixup_hugetlb_reservations(vrm->vma);
+ fixup_hugetlb_reservations(vma_pages(new_vma) < vma_pages(vrm->vma) ?
+ 			   new_vma : vrm->vma);
  ...
  }
