// One entry maps a block of a 1 GiB page, whose first struct page says nothing
// of its size, or under HVO that of all the hugepage.
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
