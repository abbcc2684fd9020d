// A write to a private mapping of a file allocates and charges a copy. A process
// that has a poisoned hugepage to itself writes to that in place.
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
