// When fork copies the hwpoison entry of a private mapping, the child's entry keeps
// the hugepage as well, with a reference of its own.
// file: mm/hugetlb.c
// hunks: 1
@@
symbol entry;
@@
  copy_hugetlb_page_range(...)
  {
  <...
- is_hugetlb_entry_hwpoisoned(entry)
+ hugepoison_entry_copied(entry, is_hugetlb_entry_hwpoisoned(entry))
  ...>
  }
