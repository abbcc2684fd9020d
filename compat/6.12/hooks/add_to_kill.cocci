// Signal a process once that maps the hugepage more than once.
// file: mm/memory-failure.c
// hunks: 1
@@
identifier tsk, p, vma, to_kill, tk;
@@
  __add_to_kill(struct task_struct *tsk, struct page *p,
  		struct vm_area_struct *vma, struct list_head *to_kill, ...)
  {
  ...
+ if (hugepoison_is_on_kill_list(tsk, p, to_kill))
+ 	return;
  tk = kmalloc(...);
  ...
  }
