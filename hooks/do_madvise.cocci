// Hugetlb mappings can be discarded by hugepages only. Where that failed and there
// is an error the range is narrowed, so that its raw page can be discarded alone.
// Advice that does not fail pays for nothing: there is one call, as on stock, which
// the compiler makes part of its caller. Each round again has narrowed a hugepage.
// file: mm/madvise.c
// hunks: 1
@@
identifier error;
expression E1, E2, E3, E4, E5;
@@
  do_madvise(...)
  {
  <...
- error = madvise_walk_vmas(E1, E2, E3, E4, E5);
+ do {
+ 	error = madvise_walk_vmas(E1, E2, E3, E4, E5);
+ } while (hugepoison_advise_again(E1, E2, E3, E4, error));
  ...>
  }
