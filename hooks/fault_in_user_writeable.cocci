// A futex in a healthy page of a poisoned hugepage: faulting it in has to narrow,
// and this fault may not drop mmap_lock. The caller holds no other lock, so try
// again in a way that drops mmap_lock.
// file: kernel/futex/core.c
// hunks: 1
@@
expression E1, E2, E3;
@@
  fault_in_user_writeable(...)
  {
  <...
- fixup_user_fault(E1, E2, E3, NULL)
+ hugepoison_fixup_user_fault(E1, E2, E3)
  ...>
  }
