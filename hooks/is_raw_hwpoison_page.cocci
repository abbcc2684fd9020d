// A read(2) of a poisoned hugepage holds a reference while it asks which of its
// pages are bad. That must not wait for who waits for references to go.
// file: mm/memory-failure.c
// hunks: 2
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
