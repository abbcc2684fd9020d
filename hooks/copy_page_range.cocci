// Fork copies the entries of an ordinary mapping where it has pages of its own,
// or userfaultfd tracks writes. A narrowed VMA's entries of the hugepage are not
// copied: the faults of both processes fill them, and tell userfaultfd of more
// writes, never of less. The child of a private one gets its hold on the hugepage.
// file: mm/memory.c
// hunks: 1
@@
identifier dst_vma, src_vma;
symbol ret;
@@
  copy_page_range(struct vm_area_struct *dst_vma, struct vm_area_struct *src_vma)
  {
  ...
+ ret = hugepoison_fork(dst_vma, src_vma);
+ if (ret)
+ 	return ret < 0 ? ret : 0;
  if (!vma_needs_copy(dst_vma, src_vma))
  	return 0;
  ...
  }
