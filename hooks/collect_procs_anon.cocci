// Stock locks the anon_vma of a private page with an error to find its mappings.
// For a hugepage the handler may hold that lock already, see
// collect_procs_file.cocci.
// file: mm/memory-failure.c
// hunks: 2
@@
symbol folio, av;
@@
  collect_procs_anon(...)
  {
  ...
- av = folio_lock_anon_vma_read(folio, NULL);
+ av = hugepoison_lock_anon_mappers(folio);
  ...
- anon_vma_unlock_read(av);
+ hugepoison_unlock_anon_mappers(av);
  }
