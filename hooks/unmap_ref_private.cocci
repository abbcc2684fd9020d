// When the owner of a private mapping copies a hugepage on write and the pool is
// empty, stock takes the hugepage from the children. A narrowed VMA does not map
// it: it maps anonymous pages, or base pages of the file's poisoned hugepage. The
// rest of the loop is for hugetlb VMAs only.
// file: mm/hugetlb.c
// hunks: 1
@@
symbol iter_vma;
iterator name mapping_rmap_tree_foreach;
@@
  unmap_ref_private(...)
  {
  <...
  if (iter_vma->vm_flags & VM_MAYSHARE)
  	continue;
+ if (hugepoison_vma_is_narrowed(iter_vma))
+ 	continue;
  ...>
  }
