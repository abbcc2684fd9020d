// Truncation and hole punching have to unmap narrowed VMAs as well.
// file: fs/hugetlbfs/inode.c
// hunks: 1
@@
identifier start, end, vma;
iterator name vma_interval_tree_foreach;
@@
  hugetlb_vmdelete_list(struct rb_root_cached *root, pgoff_t start, pgoff_t end, ...)
  {
  <...
+ if (hugepoison_zap_narrowed(vma, start, end))
+ 	continue;
  if (!hugetlb_vma_trylock_write(vma))
  	continue;
  ...>
  }
