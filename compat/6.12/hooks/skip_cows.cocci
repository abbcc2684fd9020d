// zap_page_range_single() takes the details, with a meaning turned round, and gathers by
// itself.
// file: mm/hugepoison/private.c
// hunks: 1
@@
identifier tlb, details, vma, address, size;
@@
  hugepoison_zap_but_cows(struct vm_area_struct *vma, unsigned long address,
  			 unsigned long size)
  {
- struct zap_details details = { .skip_cows = true };
- struct mmu_gather tlb;
+ struct zap_details details = { .even_cows = false };
 
- tlb_gather_mmu(&tlb, vma->vm_mm);
- zap_vma_range_batched(&tlb, vma, address, size, &details);
- tlb_finish_mmu(&tlb);
+ zap_page_range_single(vma, address, size, &details);
  }
