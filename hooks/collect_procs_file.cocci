// Stock locks the mappings of a file's page with an error. For a hugepage the
// handler may hold that lock already: it only tries for it while other errors wait,
// and keeps it until the hugepage is unmapped.
// file: mm/memory-failure.c
// hunks: 2
@@
symbol mapping;
@@
  collect_procs_file(...)
  {
  ...
- i_mmap_lock_read(mapping);
+ hugepoison_lock_file_mappers(mapping);
  ...
- i_mmap_unlock_read(mapping);
+ hugepoison_unlock_file_mappers(mapping);
  }
