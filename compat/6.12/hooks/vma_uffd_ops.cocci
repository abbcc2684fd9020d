// 6.12 refuses by itself.
// file: mm/userfaultfd.c
// hunks: 0
