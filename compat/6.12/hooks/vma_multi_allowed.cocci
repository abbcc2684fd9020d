// 6.12 moves one mapping at a time.
// file: mm/mremap.c
// hunks: 0
