// Moving a process to another memory cgroup (version 1) looks at all pages it maps.
// A PMD may map a block of a 1 GiB page, not only the head of a folio.
// file: mm/memcontrol-v1.c
// hunks: 1
@@
expression page;
@@
  get_mctgt_type_thp(...)
  {
  <...
- PageHead(page)
+ hugepoison_is_block(page)
  ...>
  }
