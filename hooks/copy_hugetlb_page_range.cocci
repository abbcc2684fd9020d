// Fork asks whether the child's page table is shared, and if so copies nothing.
// Only tables of 2 MiB entries can be shared; the word that counts the sharers
// is never set in a table of 1 GiB entries, where it holds what the page was
// last used for. Then the child of a private 1 GiB mapping finds nothing of it.
// file: mm/hugetlb.c
// hunks: 1
@@
symbol h;
expression E;
@@
  copy_hugetlb_page_range(...)
  {
  <...
- ptdesc_pmd_is_shared(virt_to_ptdesc(E))
+ hugepoison_table_is_shared(huge_page_size(h), virt_to_ptdesc(E))
  ...>
  }
