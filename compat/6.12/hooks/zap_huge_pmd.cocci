// A PMD maps a healthy block of a 1 GiB page, not only the head of a folio. For a
// private hugepage no page table was deposited with the PMD: a split unmaps it.
// file: mm/huge_memory.c
// hunks: 2
@@
expression page;
symbol tlb, pmd;
@@
  zap_huge_pmd(...)
  {
  <...
(
- VM_BUG_ON_PAGE(!PageHead(page), page);
+ VM_BUG_ON_PAGE(!hugepoison_is_block(page), page);
|
  if (folio_test_anon(folio)) {
- zap_deposited_table(tlb->mm, pmd);
+ if (!hugepoison_small_rmap(folio))
+ 	zap_deposited_table(tlb->mm, pmd);
  ...
  } else { ... }
)
  ...>
  }
