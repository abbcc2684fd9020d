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

#include <fcntl.h>
#include <unistd.h>

#include "access/xlog.h"
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
 * Copy bytes that may be lost. The kernel copies from the address of a process, which an error
 * ends with EFAULT; an access would be SIGBUS, and process_vm_readv() reads by an address of
 * the kernel, where an error that no one has met before is a panic.
 */
static bool copy_safely(void *to, const void *from, size_t len)
{
	static int ends[2] = { -1, -1 };

	if (ends[0] < 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return false;
	return write(ends[1], from, len) == (ssize_t)len && read(ends[0], to, len) == (ssize_t)len;
}

/*
 * The LSN in the buffer, if its header is not in the raw page. Another page of the buffer may
 * be lost as well.
 */
static void read_lsn(struct holder *holder)
{
	PageXLogRecPtr lsn;
	const char *block = BufferBlocks + (Size)holder->buffer * BLCKSZ;

	holder->has_lsn = holder->part.in_block >= sizeof(lsn) &&
			  copy_safely(&lsn, block + offsetof(PageHeaderData, pd_lsn), sizeof(lsn));
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

/* A process writes a tag with its header locked: the worker may read a part of the tag. */
static bool is_block(const BufferTag *tag)
{
	return tag_fork(tag) >= 0 && tag_fork(tag) <= MAX_FORKNUM &&
	       tag->blockNum != InvalidBlockNumber;
}

/*
 * Whether the file has what the buffer had.
 *
 * A header that is locked may be about to become dirty, MarkBufferDirtyHint() has stored the
 * LSN before. It is locked for some instructions, except by a process that reads or stores
 * the LSN in the lost page, and waits for us: that one has not stored.
 */
static enum outcome judge(struct holder *holder, bool modifies, bool insist,
			  struct finding *finding)
{
	BufferDesc *desc = GetBufferDescriptor(holder->buffer);
	LWLock *lock = BufferDescriptorGetContentLock(desc);
	uint32 state;

	if (!LWLockConditionalAcquire(lock, LW_SHARED)) {
		/* for the log only */
		state = read_state(desc, &holder->tag);
		holder->is_valid = state & BM_VALID && is_block(&holder->tag);
		return modifies ? OUTCOME_MODIFIED : OUTCOME_BUSY;
	}
	read_lsn(holder);
	pg_read_barrier();
	state = read_state(desc, &holder->tag);
	LWLockRelease(lock);
	finding->locked |= !!(state & BM_LOCKED);
	if (state & BM_IO_IN_PROGRESS || (state & BM_LOCKED && !insist))
		return OUTCOME_BUSY;
	holder->is_valid = state & BM_VALID;
	if (!holder->is_valid)
		return OUTCOME_ZEROED;
	if (!is_block(&holder->tag))
		return OUTCOME_BUSY;
	if (state & (BM_DIRTY | BM_JUST_DIRTIED))
		return OUTCOME_DIRTY;
	return OUTCOME_READ;
}

/*
 * Whether all buffers have what they had when they were judged, and no I/O has begun in one
 * that was invalid.
 */
static bool are_same(const struct finding *finding)
{
	BufferTag tag;

	for (int i = 0; i < finding->count; i++) {
		const struct holder *holder = &finding->holder[i];
		uint32 state = read_state(GetBufferDescriptor(holder->buffer), &tag);
		uint32 seen = state & (holder->is_valid ? BM_VALID : BM_VALID | BM_IO_IN_PROGRESS);

		if (seen != (holder->is_valid ? BM_VALID : 0) || !tags_equal(&tag, &holder->tag))
			return false;
	}
	return true;
}

/* Whether a block has been, or is being, read into a buffer since are_same(). */
static bool has_begun(const struct finding *finding)
{
	BufferTag tag;

	for (int i = 0; i < finding->count; i++) {
		const struct holder *holder = &finding->holder[i];
		uint32 state = read_state(GetBufferDescriptor(holder->buffer), &tag);

		if (holder->is_valid && state & BM_VALID && tags_equal(&tag, &holder->tag))
			continue;
		if (state & (BM_VALID | BM_IO_IN_PROGRESS))
			return true;
	}
	return false;
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
		finding->may_pass = true;
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
		outcome = judge(holder, modifies, insist, finding);
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

	if (error)
		return of_kernel(error, finding);
	/*
	 * Before PostgreSQL 17 mdread() zeroes a block when a read of it is short, if it is for
	 * the recovery or zero_damaged_pages is on. A read into the lost page is short. So the
	 * zeros have to wait for the page, as all that store to it do: but they do not, if the
	 * read began before the page was filled and they come after. The state does not say when
	 * it began.
	 */
	pg_memory_barrier();
	finding->in_doubt = (RecoveryInProgress() || zero_damaged_pages) && has_begun(finding);
	return outcome;
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
