// Splitting a block of a file mapping unmaps it. A block of a private hugepage
// counts as anonymous.
// file: mm/huge_memory.c
// hunks: 1
@@
expression E;
@@
  __split_huge_pmd_locked(...)
  {
  <...
- mm_counter_file(E)
+ hugepoison_block_counter(E)
  ...>
  }
