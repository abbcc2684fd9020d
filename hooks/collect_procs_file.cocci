// Stock finds the mappers of a page with an error by its file. The handler of one in a
// hugepage may have locked the mappings already: it only tries to while others wait
// for it, and keeps the lock until the hugepage is unmapped.
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
