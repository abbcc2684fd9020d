// One entry maps a healthy block of a 1 GiB page: not only the head of a folio.
// file: mm/huge_memory.c
// hunks: 1
@@
expression page;
@@
  zap_huge_pmd(...)
  {
  <...
- VM_BUG_ON_PAGE(!PageHead(page), page);
+ VM_BUG_ON_PAGE(!hugepoison_is_block(page), page);
  ...>
  }
