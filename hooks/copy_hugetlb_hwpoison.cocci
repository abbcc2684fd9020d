// When fork copies the hwpoison entry of a private mapping, the child's entry keeps
// the hugepage as well, with a reference of its own.
// file: mm/hugetlb.c
// hunks: 1
@@
symbol entry;
expression E;
@@
  copy_hugetlb_page_range(...)
  {
  <...
- softleaf_is_hwpoison(E)
+ hugepoison_entry_copied(entry, softleaf_is_hwpoison(E))
  ...>
  }
