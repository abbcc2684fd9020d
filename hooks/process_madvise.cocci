// As do_madvise.cocci. The iterator is at the range that failed, the first one: of those
// that follow a failed one is for the next call.
// file: mm/madvise.c
// hunks: 1
@@
identifier ret, mm, iter, behavior;
@@
- ret = vector_madvise(mm, &iter, behavior);
+ do {
+ 	ret = vector_madvise(mm, &iter, behavior);
+ } while (ret == -EINVAL &&
+ 	 hugepoison_advise_again(mm, (unsigned long)iter_iov_addr(&iter),
+ 				 iter_iov_len(&iter), behavior, ret));
