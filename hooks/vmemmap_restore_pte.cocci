// A vmemmap page that HVO gives back is a copy of the hugepage's first one, and
// has the folio's state where plain tail pages belong: "Bad page state" when
// the hugepage is freed, without any memory error.
// file: mm/hugetlb_vmemmap.c
// hunks: 1
@@
identifier dst, src;
@@
  vmemmap_restore_pte(...)
  {
  ...
  copy_page(page_to_virt(dst), page_to_virt(src));
+ hugepoison_reset_vmemmap(page_to_virt(dst));
  ...
  }
