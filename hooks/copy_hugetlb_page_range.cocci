// Fork copies no entries if the child's page table is shared. Only tables of 2 MiB
// entries can be shared. In a table of 1 GiB entries the word that counts the
// sharers is never set, and has a value that the page's last user left. Then the
// child of a private 1 GiB mapping finds nothing of it.
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
