// A vmemmap page that HVO restores is a copy of the hugepage's first one, with the
// folio's state where plain tail pages belong: "Bad page state" when the hugepage
// is freed, without any memory error. Releases before about 6.12.111 reset it
// themselves; there it is done twice.
// file: mm/hugetlb_vmemmap.c
// hunks: 1
@@
expression E1, E2;
@@
  vmemmap_restore_pte(...)
  {
  ...
  copy_page(E1, E2);
+ hugepoison_reset_vmemmap(E1);
  ...
  }
