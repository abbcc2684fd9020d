// Adds the hugepage files to the injector's directory, and removes them with it.
// file: mm/hwpoison-inject.c
// hunks: 1
@@
expression E1, E2;
@@
  pfn_inject_init(...)
  {
  ...
  hwpoison_dir = debugfs_create_dir(E1, E2);
+ hugepoison_inject_init(hwpoison_dir);
  ...
  }
