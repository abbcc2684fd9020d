// A signal for a known error says how much of the mapping is lost. Until the
// hugepage is narrowed its entry would say the hugepage's size.
// file: mm/memory-failure.c
// hunks: 1
@@
symbol p, priv;
@@
  kill_accessing_process(struct task_struct *p, ...)
  {
  <...
+ priv.tk.size_shift = hugepoison_accessed_shift(p->mm, priv.tk.addr,
+ 						 priv.tk.size_shift);
  kill_proc(&priv.tk, ...);
  ...>
  }
