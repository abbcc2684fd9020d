// Fork copies the entries of an ordinary file mapping where userfaultfd tracks
// writes. Those of a narrowed one are not copied: the child's faults fill them,
// and tell of more writes, never of less.
// file: mm/memory.c
// hunks: 1
@@
identifier dst_vma, src_vma;
@@
  vma_needs_copy(struct vm_area_struct *dst_vma, struct vm_area_struct *src_vma)
  {
+ if (hugepoison_fork_skips(src_vma))
+ 	return false;
  ...
  }
