/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's complaints in its log: POSIX extended regular expressions of a message
 * without its time stamp. This is the one list: complaints.py reads it for ./run and for
 * scripts/vm, so a line holds one string, and the strings hold neither quotes nor
 * backslashes.
 */
#ifndef HP_COMPLAINTS_H
#define HP_COMPLAINTS_H

static const char * const hp_complaints[] = {
	"Kernel panic - not syncing",
	"(^|[^A-Za-z])BUG: ",
	"^BUG ",			/* the slab allocator */
	"kernel BUG at ",
	"^WARNING: ",
	"^-+. cut here .-+",
	"^(general protection fault|Oops|double fault)",
	"^(traps: )?PANIC: ",
	"^(UBSAN|refcount_t): ",
	"KASAN: ",
	"^INFO: task .* blocked for more than",
	"^(rcu: )?INFO: rcu_[a-z_]+ (self-)?detected",
	"^INFO: trying to register non-static key",
	"hard LOCKUP|soft lockup",
	"^kmemleak: .*new suspected memory leaks",
	"suspicious RCU usage",
	"^list_(add|del) ",
	"corruption of ",
	"^pagealloc: ",			/* somebody wrote to a free page */
	"[Bb]ad (page (state|map|cache)|rss-counter)",
	"[Kk]ernel stack .*overflow",
	"^vm-init: FAILED",		/* the guest's own first process */
};

/* ... of which these are none. */
static const char * const hp_no_complaints[] = {
	"due to hardware memory corruption",	/* so the handler reports each error */
	"BUG: KCSAN: ",			/* stock has races too: scripts/vm knows ours */
};

#endif
