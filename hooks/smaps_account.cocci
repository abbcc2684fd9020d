// A PMD maps a block of a 1 GiB page. The block's first struct page does not say
// its size, or under HVO says that of the hugepage.
// file: fs/proc/task_mmu.c
// hunks: 1
@@
expression page;
@@
  smaps_account(...)
  {
  <...
- compound_nr(page)
+ hugepoison_entry_nr(page)
  ...>
  }
