// The VMA's lock is a semaphore.
// file: mm/hugepoison/mappers.c
// hunks: 1
@@
identifier vma;
@@
  hugepoison_trylock_vma(struct vm_area_struct *vma)
  {
+ unsigned int sequence;
+
- if (__is_vma_write_locked(vma))
+ if (__is_vma_write_locked(vma, &sequence))
  	return true;
- if (atomic_cmpxchg_acquire(...) != 1)
+ if (!down_write_trylock(&vma->vm_lock->lock))
  	return false;
- WRITE_ONCE(vma->vm_lock_seq, __vma_raw_mm_seqnum(vma));
- atomic_sub_return_release(...);
+ WRITE_ONCE(vma->vm_lock_seq, sequence);
+ up_write(&vma->vm_lock->lock);
  return true;
  }
