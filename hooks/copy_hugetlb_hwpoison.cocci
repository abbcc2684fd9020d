// The child of a fork is one more for whom a private hugepage's healthy pages
// are kept.
// file: mm/hugetlb.c
// hunks: 1
@@
symbol entry;
@@
  copy_hugetlb_page_range(...)
  {
  <...
- is_hugetlb_entry_hwpoisoned(entry)
+ hugepoison_entry_copied(entry)
  ...>
  }
