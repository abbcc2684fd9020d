// When a process accesses a known error stock walks its page tables. The walk takes
// mmap_lock, which a user can hold for ever: so it must not run under mf_mutex,
// which all errors need.
// file: mm/memory-failure.c
// hunks: 1
@@
expression pfn, flags;
@@
  int memory_failure(...)
  {
  <...
- kill_accessing_process(current, pfn, flags)
+ hugepoison_kill_accessing(current, pfn, flags)
  ...>
  }
