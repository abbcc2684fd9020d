// read(2) of a poisoned hugepage holds a reference while it tests which pages are
// bad. It must not wait for mf_mutex then: the handler, which holds that, waits for
// references to be dropped. A raw page that was refilled can be read: another page
// stands in for it.
// file: mm/memory-failure.c
// hunks: 1
@@
@@
  is_raw_hwpoison_page_in_hugepage(...)
  {
  <...
(
- mutex_lock(&mf_mutex);
+ hugepoison_raw_lock();
|
- mutex_unlock(&mf_mutex);
+ hugepoison_raw_unlock();
)
  ...>
  }
@@
identifier page, ret;
@@
  is_raw_hwpoison_page_in_hugepage(struct page *page)
  {
  <...
  if (page == ...) {
- 	ret = true;
+ 	ret = !hugepoison_is_refilled(page);
  	...
  }
  ...>
  }
