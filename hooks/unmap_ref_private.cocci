// The owner of a private mapping copies a hugepage on write, and the pool is empty:
// the hugepage is taken from the children. A narrowed VMA does not map it: its
// pages are base pages of its own, or of the file's poisoned hugepage. It is no
// hugetlb VMA either, which is what the rest of the loop is for.
//
// A child may have moved its mapping by mremap(). Stock looks at the owner's
// address, finds nothing to take, and tries for ever, without any error.
// file: mm/hugetlb.c
// hunks: 2
@@
symbol iter_vma, address, pgoff;
iterator name vma_interval_tree_foreach;
@@
  unmap_ref_private(...)
  {
  <...
(
  if (iter_vma->vm_flags & VM_MAYSHARE)
  	continue;
+ if (hugepoison_vma_is_narrowed(iter_vma))
+ 	continue;
|
+ address = hugepoison_ref_address(iter_vma, pgoff, address);
  if (!is_vma_resv_set(...))
  	unmap_hugepage_range(...);
)
  ...>
  }
