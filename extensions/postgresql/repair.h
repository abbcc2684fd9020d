/* SPDX-License-Identifier: GPL-2.0-only */
/* Repair of one lost page of the shared buffers, see repair.c. */
#ifndef PG_HUGEPOISON_REPAIR_H
#define PG_HUGEPOISON_REPAIR_H

#include "postgres.h"

#include "storage/buf_internals.h"

#include "geometry.h"

/* A raw page has parts of no more buffers. */
#define MAX_PARTS	(RAW_PAGE / BLCKSZ + 2)

enum outcome {
	OUTCOME_NONE,
	OUTCOME_READ,		/* a block was read again from its file */
	OUTCOME_ZEROED,		/* no buffer had anything in it */
	OUTCOME_GOOD,		/* it is not lost, or no longer */
	OUTCOME_BUSY,		/* to be tried again soon */
	OUTCOME_DIRTY,
	OUTCOME_MODIFIED,	/* perhaps, by the process that waits for it */
	OUTCOME_UNREADABLE,	/* the file, or its checksum is wrong */
	OUTCOME_OTHER,		/* the file has another version of the block */
	OUTCOME_NO_MEMORY,
	OUTCOME_OUTSIDE,	/* it is not, or not all of it, in buffers */
	OUTCOME_WHOLE,		/* all of the hugepage is lost */
	OUTCOME_FAILED,		/* the kernel refuses */
};

static inline bool is_repaired(enum outcome outcome)
{
	return outcome >= OUTCOME_READ && outcome <= OUTCOME_GOOD;
}

/* A buffer that has a part in the raw page */
struct holder {
	int buffer;
	struct part part;
	enum outcome outcome;
	bool is_valid;
	BufferTag tag;		/* if it is invalid, perhaps of no block */
	bool has_lsn;		/* the page's header is not in the raw page */
	XLogRecPtr lsn;
};

struct finding {
	int count;
	struct holder holder[MAX_PARTS];
	int error;		/* the kernel's, for OUTCOME_FAILED */
	char why[200];		/* for OUTCOME_UNREADABLE */
	bool may_pass;		/* the reason, by itself: out of files, memory, a failed read */
	bool locked;		/* the header of a buffer is locked */
	bool in_doubt;		/* the page is filled, but see repair_page() */
};

/* The shared buffers of this server */
struct buffers shared_buffers(void);

/* Relation, fork and block of a tag, on any version. */
Oid tag_tablespace(const BufferTag *tag);
Oid tag_database(const BufferTag *tag);
Oid tag_relation(const BufferTag *tag);
char *tag_path(const BufferTag *tag);

/*
 * Repair a raw page, in the worker. @own is of hugepoison_open(); @modifies says that a process
 * waits for it that may have modified a buffer, @insist that a header has been locked for so
 * long that its holder must be one that waits. @finding gets the buffers and the reason.
 *
 * With @finding->in_doubt a process of the recovery may have read a block into the lost page,
 * and have taken it for the end of a file: the server has to be restarted at once.
 */
enum outcome repair_page(int own, uintptr_t page, bool modifies, bool insist,
			 struct finding *finding);

#endif /* PG_HUGEPOISON_REPAIR_H */
