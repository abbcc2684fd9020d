// Fork copies the entries of an ordinary mapping if it has anonymous pages, or
// userfaultfd tracks writes. A narrowed VMA's entries of the hugepage are not
// copied: faults of both processes set them, and report more writes to userfaultfd,
// never fewer. The child of a private mapping gets a reference to the hugepage.
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
