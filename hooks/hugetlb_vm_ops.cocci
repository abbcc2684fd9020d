// A narrowed VMA keeps its file's operations, which have to distinguish it from a
// hugetlb VMA. SysV shared memory calls them through its own.
// file: mm/hugetlb.c
// hunks: 1
@@
@@
  const struct vm_operations_struct hugetlb_vm_ops = {
- 	.fault = hugetlb_vm_op_fault,
- 	.open = hugetlb_vm_op_open,
- 	.close = hugetlb_vm_op_close,
+ 	.fault = hugepoison_vm_op(fault),
+ 	.open = hugepoison_vm_op(open),
+ 	.close = hugepoison_vm_op(close),
  	.may_split = hugetlb_vm_op_split,
- 	.pagesize = hugetlb_vm_op_pagesize,
+ 	.pagesize = hugepoison_vm_op(pagesize),
  };
