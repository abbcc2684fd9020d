// A write to a private mapping of a file takes a copy, and charges it. Where the
// process has a poisoned hugepage to itself it writes to that.
// file: mm/memory.c
// hunks: 1
@@
identifier vmf;
symbol vma;
@@
  do_fault(struct vm_fault *vmf)
  {
  <...
- !(vma->vm_flags & VM_SHARED)
+ !(hugepoison_shares_writes(vma, vmf->address))
  ...>
  }
