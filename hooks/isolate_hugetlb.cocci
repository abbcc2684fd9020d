// A page fault that was on its way when the error came marks the poisoned hugepage as
// migratable, and so does migration when it gives up. It stays where it is.
// file: mm/hugetlb.c
// hunks: 1
@@
symbol folio;
@@
  folio_isolate_hugetlb(...)
  {
  <...
- !folio_test_hugetlb_migratable(folio)
+ (!folio_test_hugetlb_migratable(folio) || hugepoison_is_immovable(folio))
  ...>
  }
