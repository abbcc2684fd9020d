// The child of a fork keeps a private hugepage as its parent does, by an entry
// with a reference.
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
