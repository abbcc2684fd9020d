// SPDX-License-Identifier: GPL-2.0-only
/*
 * Repair of one lost page of the shared buffers: the worker finds out what has to be there,
 * and has the kernel put it there.
 *
 * No pin and no header lock is taken, as the lost page is a lock by itself. Until it is
 * filled nobody can store to it (SIGBUS, where a process waits for the worker) and no system
 * call can (EFAULT). So from the error on,
 *
 * - a buffer that was valid holds the same block, until somebody invalidates it. A valid
 *   buffer with another block would have been read or zeroed, and that stores to the page.
 * - a dirty buffer stays dirty, unless its write had copied it before the error. A write
 *   that begins later reads the page.
 * - the kernel fills the page only while it is lost, all at once.
 *
 * The worker asks the kernel whether the page is lost; then it looks at each buffer, in this
 * order: its content lock cannot be had while somebody modifies it. It is released by a
 * process that has marked the buffer dirty. A buffer that is clean then, and has no I/O in
 * progress, is in its file as it was before the error; it may differ by hints, which anybody
 * can lose. The file is read afterwards. docs/postgresql-extension.md goes through all that
 * may happen meanwhile.
 */
#include "postgres.h"

#include <sys/uio.h>
#include <unistd.h>

#include "common/relpath.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/lwlock.h"
#include "storage/smgr.h"
#include "utils/memutils.h"

#include "hugepoison.h"
#include "repair.h"

#if PG_VERSION_NUM >= 170000
#define NO_BACKEND	INVALID_PROC_NUMBER
#else
#define NO_BACKEND	InvalidBackendId
#endif

#if PG_VERSION_NUM >= 160000
#define tag_file(tag)	BufTagGetRelFileLocator(tag)
#define tag_fork(tag)	BufTagGetForkNum(tag)
#define tags_equal(a, b)	BufferTagsEqual(a, b)

Oid tag_tablespace(const BufferTag *tag)
{
	return tag->spcOid;
}

Oid tag_database(const BufferTag *tag)
{
	return tag->dbOid;
}

Oid tag_relation(const BufferTag *tag)
{
	return BufTagGetRelNumber(tag);
}
#else
#define tag_file(tag)	((tag)->rnode)
#define tag_fork(tag)	((tag)->forkNum)
#define tags_equal(a, b)	BUFFERTAGS_EQUAL(*(a), *(b))

Oid tag_tablespace(const BufferTag *tag)
{
	return tag->rnode.spcNode;
}

Oid tag_database(const BufferTag *tag)
{
	return tag->rnode.dbNode;
}

Oid tag_relation(const BufferTag *tag)
{
	return tag->rnode.relNode;
}
#endif

char *tag_path(const BufferTag *tag)
{
	return relpathperm(tag_file(tag), tag_fork(tag));
}

struct buffers shared_buffers(void)
{
	return (struct buffers){ (uintptr_t)BufferBlocks, BLCKSZ, NBuffers };
}

/* --- what the buffers are --------------------------------------------------------- */

/*
 * The LSN in the buffer, if its header is not in the raw page. Another page of the buffer may
 * be lost as well: a system call says so, an access would be SIGBUS.
 */
static void read_lsn(struct holder *holder)
{
	PageXLogRecPtr lsn;
	char *block = BufferBlocks + (Size)holder->buffer * BLCKSZ;
	struct iovec to = { &lsn, sizeof(lsn) };
	struct iovec from = { block + offsetof(PageHeaderData, pd_lsn), sizeof(lsn) };

	holder->has_lsn = holder->part.in_block >= sizeof(lsn) &&
			  process_vm_readv(getpid(), &to, 1, &from, 1, 0) == sizeof(lsn);
	if (holder->has_lsn)
		holder->lsn = PageXLogRecPtrGet(lsn);
}

/*
 * Block and state of a buffer. The tag is that of a valid buffer if it is valid before and
 * after: with its page lost it cannot become valid again.
 */
static uint32 read_state(const BufferDesc *desc, BufferTag *tag)
{
	uint32 before = pg_atomic_read_u32(unconstify(pg_atomic_uint32 *, &desc->state));
	uint32 after;

	pg_read_barrier();
	*tag = desc->tag;
	pg_read_barrier();
	after = pg_atomic_read_u32(unconstify(pg_atomic_uint32 *, &desc->state));
	return (after & before & BM_VALID) | ((after | before) & ~BM_VALID);
}

/*
 * Whether the file has what the buffer had.
 *
 * A header that is locked may be about to become dirty, MarkBufferDirtyHint() has stored the
 * LSN before. It is locked for some instructions, except by a process that reads or stores
 * the LSN in the lost page, and waits for us: that one has not stored.
 */
static enum outcome judge(struct holder *holder, bool modifies, bool insist)
{
	BufferDesc *desc = GetBufferDescriptor(holder->buffer);
	LWLock *lock = BufferDescriptorGetContentLock(desc);
	uint32 state;

	if (!LWLockConditionalAcquire(lock, LW_SHARED))
		return modifies ? OUTCOME_MODIFIED : OUTCOME_BUSY;
	read_lsn(holder);
	pg_read_barrier();
	state = read_state(desc, &holder->tag);
	LWLockRelease(lock);
	if (state & BM_IO_IN_PROGRESS || (state & BM_LOCKED && !insist))
		return OUTCOME_BUSY;
	holder->is_valid = state & BM_VALID;
	if (!holder->is_valid)
		return OUTCOME_ZEROED;
	if (state & (BM_DIRTY | BM_JUST_DIRTIED))
		return OUTCOME_DIRTY;
	return OUTCOME_READ;
}

/* Whether all buffers have what they had when they were judged. */
static bool are_same(const struct finding *finding)
{
	BufferTag tag;

	for (int i = 0; i < finding->count; i++) {
		const struct holder *holder = &finding->holder[i];
		uint32 state = read_state(GetBufferDescriptor(holder->buffer), &tag);

		if (holder->is_valid && (!(state & BM_VALID) || !tags_equal(&tag, &holder->tag)))
			return false;
	}
	return true;
}

/* --- what the file has ------------------------------------------------------------ */

/* A file that is dropped must not be kept open. */
static void close_file(SMgrRelation file)
{
	smgrclose(file);
#if PG_VERSION_NUM >= 170000
	smgrdestroyall();
#endif
}

static bool read_block(const BufferTag *tag, char *block, struct finding *finding)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool well = true;

	PG_TRY();
	{
		SMgrRelation file = smgropen(tag_file(tag), NO_BACKEND);

		smgrread(file, tag_fork(tag), tag->blockNum, block);
		close_file(file);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		pgstat_report_wait_end();
		close_file(smgropen(tag_file(tag), NO_BACKEND));
		strlcpy(finding->why, error->message, sizeof(finding->why));
		FreeErrorData(error);
		well = false;
	}
	PG_END_TRY();
	if (well && !PageIsVerifiedExtended((Page)block, tag->blockNum, 0)) {
		strlcpy(finding->why, "wrong checksum", sizeof(finding->why));
		well = false;
	}
	return well;
}

/* The part of a buffer that is in the raw page. */
static enum outcome read_part(struct holder *holder, char *page, struct finding *finding)
{
	static char block[BLCKSZ] pg_attribute_aligned(RAW_PAGE);

	if (!read_block(&holder->tag, block, finding))
		return OUTCOME_UNREADABLE;
	if (holder->has_lsn && holder->lsn != PageGetLSN((Page)block))
		return OUTCOME_OTHER;
	memcpy(page + holder->part.in_page, block + holder->part.in_block, holder->part.len);
	return OUTCOME_READ;
}

/* --- both ------------------------------------------------------------------------- */

/* Judge all buffers that have a part. The worst outcome. */
static enum outcome judge_all(uintptr_t page, bool modifies, bool insist, struct finding *finding)
{
	struct buffers buffers = shared_buffers();
	enum outcome worst = OUTCOME_ZEROED;

	for (int i = first_buffer(&buffers, page); i <= last_buffer(&buffers, page); i++) {
		struct holder *holder = &finding->holder[finding->count++];
		enum outcome outcome;

		holder->buffer = i;
		holder->part = part_of(&buffers, page, i);
		outcome = judge(holder, modifies, insist);
		holder->outcome = outcome;
		if (outcome == OUTCOME_READ)
			worst = worst == OUTCOME_ZEROED ? OUTCOME_READ : worst;
		else if (outcome != OUTCOME_ZEROED)
			worst = Max(worst, outcome);
	}
	return worst;
}

static enum outcome of_kernel(int error, struct finding *finding)
{
	finding->error = -error;
	switch (-error) {
	case EEXIST:
		return OUTCOME_GOOD;
	case EAGAIN:
	case EINTR:
		return OUTCOME_BUSY;
	case ENOMEM:
		return OUTCOME_NO_MEMORY;
	case EOPNOTSUPP:
		return OUTCOME_WHOLE;
	default:
		return OUTCOME_FAILED;
	}
}

static enum outcome fill(int own, uintptr_t page, const char *contents, enum outcome outcome,
			 struct finding *finding)
{
	int error = hugepoison_write(own, (void *)page, contents);

	return error ? of_kernel(error, finding) : outcome;
}

enum outcome repair_page(int own, uintptr_t page, bool modifies, bool insist,
			 struct finding *finding)
{
	static char contents[RAW_PAGE] pg_attribute_aligned(RAW_PAGE);
	struct buffers buffers = shared_buffers();
	enum outcome outcome;
	int lost;

	memset(finding, 0, sizeof(*finding));
	lost = hugepoison_is_lost(own, (void *)page);
	if (lost <= 0)
		return lost ? of_kernel(lost, finding) : OUTCOME_GOOD;
	if (!in_buffers(&buffers, page))
		return OUTCOME_OUTSIDE;
	outcome = judge_all(page, modifies, insist, finding);
	if (!is_repaired(outcome))
		return outcome;
	memset(contents, 0, sizeof(contents));
	for (int i = 0; i < finding->count; i++) {
		enum outcome part = OUTCOME_READ;

		if (finding->holder[i].is_valid)
			part = read_part(&finding->holder[i], contents, finding);
		if (part != OUTCOME_READ)
			/* its relation may be gone, or shorter */
			return are_same(finding) ? part : OUTCOME_BUSY;
	}
	if (!are_same(finding))
		return OUTCOME_BUSY;
	return fill(own, page, contents, outcome, finding);
}
