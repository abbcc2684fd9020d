// A narrowed VMA keeps the operations of hugetlb files, which fill no base page: filling
// would call a function that is not there.
// file: mm/userfaultfd.c
// hunks: 1
@@
identifier vma;
@@
  vma_uffd_ops(struct vm_area_struct *vma)
  {
  ...
+ if (hugepoison_vma_is_narrowed(vma))
+ 	return NULL;
  return vma->vm_ops->uffd_ops;
  }
