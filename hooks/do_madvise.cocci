// A hugetlb mapping can discard whole hugepages only. If the advice fails and there
// is an error, narrow the range, so that its raw page can be discarded alone.
// Advice that succeeds pays nothing: there is one call, as in stock, which the
// compiler inlines. Each further round has narrowed a hugepage, so the rounds end.
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
