// When the owner of a private mapping copies a hugepage on write and the pool is
// empty, stock takes the hugepage from the children. A narrowed VMA does not map
// it: it maps anonymous pages, or base pages of the file's poisoned hugepage. The
// rest of the loop is for hugetlb VMAs only.
//
// A child may have moved its mapping by mremap(). Stock looks at the owner's
// address, finds nothing to unmap, and tries for ever, without any error.
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
+ if (IS_ENABLED(CONFIG_HUGEPOISON))
+ 	address = vma_address(iter_vma, pgoff, 1);
  if (!is_vma_resv_set(...))
  	unmap_hugepage_range(...);
)
  ...>
  }
