// 6.12 does this by do_madvise().
// file: mm/madvise.c
// hunks: 0
