// si_addr_lsb says how much of each mapping is lost.
// file: mm/memory-failure.c
// hunks: 1
@@
symbol p, vma;
expression E;
@@
  __add_to_kill(...)
  {
  <...
- folio_shift(E)
+ hugepoison_kill_shift(p, vma, folio_shift(E))
  ...>
  }
