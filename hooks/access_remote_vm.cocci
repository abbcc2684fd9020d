// ptrace and /proc/PID/mem read other processes without a page fault of their own.
// Reading a healthy page must not fail until the worker has narrowed the mapping.
// file: mm/memory.c
// hunks: 1
@@
expression E1, E2, E3, E4;
@@
  __access_remote_vm(...)
  {
  <...
- get_user_page_vma_remote(E1, E2, E3, E4)
+ hugepoison_get_remote(E1, E2, E3, E4)
  ...>
  }
