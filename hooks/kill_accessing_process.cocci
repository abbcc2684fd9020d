// A process that runs into a known error is looked for in its page tables. That
// takes mmap_lock, which a user can hold for ever: not under the lock that all
// errors need.
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
