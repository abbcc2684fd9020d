// As do_madvise.cocci. The iterator is at the range that failed, the first one: of those
// that follow a failed one is for the next call.
// file: mm/madvise.c
// hunks: 1
@@
identifier ret, mm, iter, behavior;
@@
- ret = vector_madvise(mm, &iter, behavior);
+ bool raced = false;
+
+ do {
+ 	ret = vector_madvise(mm, &iter, behavior);
+ } while (hugepoison_advise_vector_again(mm, &iter, behavior, ret, &raced));
