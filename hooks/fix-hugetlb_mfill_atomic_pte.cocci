// Fixes a bug of stock Linux, with any CONFIG_HUGEPOISON. UFFDIO_COPY takes a hugepage
// for its reservation, copies, and then reads the size. If truncation has given back the
// reservation meanwhile, backing out reserves once more, and resv_huge_pages stays one too
// small for ever, as in fix-hugetlb_vmtruncate. UFFDIO_COPY has to read the size before,
// as hugetlb_no_page() does: under the fault mutex it reads the new size and allocates
// nothing, or it ends before truncation gives anything back.
// file: mm/hugetlb.c
// hunks: 1
// fixes: fa27759af4a6 ("hugetlb: clean up code checking for fault/truncation races")
@@
symbol h, mapping, idx, foliop, vm_shared, is_continue;
@@
  hugetlb_mfill_atomic_pte(..., struct folio **foliop)
  {
  ...
+ /* Later is too late: truncation gives back what the allocation reserves. */
+ if (vm_shared && idx >= (i_size_read(mapping->host) >> huge_page_shift(h))) {
+ 	if (*foliop)
+ 		folio_put(*foliop);
+ 	*foliop = NULL;
+ 	return -EFAULT;
+ }
  if (is_continue) {
  ...
  } else if (!*foliop) {
  ...
  } else {
  ...
  }
  ...
  }
