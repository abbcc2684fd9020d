// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of repair.c without a server, with the headers of one: its buffers, files and
 * kernel are made up here, and something happens to a buffer at the very moment when a file is
 * read or a page is filled.
 */
#include "postgres.h"

#include <sys/mman.h>

#include "access/xlog.h"
#include "common/relpath.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/lwlock.h"
#include "storage/smgr.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "hugepoison.h"
#include "repair.h"

/* those of libpgport */
#undef printf
#undef snprintf

#define CLEAN	(BM_VALID | BM_TAG_VALID)
#define IN_PAGE	1280		/* where buffers begin in a page, before PostgreSQL 16 */

static int tests, failed;
static bool in_recovery, is_locked, unreadable, broken;
static void (*on_read)(void);	/* happens while a file is read, */
static void (*on_fill)(void);	/* and while the page is filled */
static char filled[RAW_PAGE];
static int fills;
static uint64 lsn_in_file;
static BufferDescPadded descriptors[2];
static char *memory;
static uintptr_t page;

static void check(bool ok, const char *what)
{
	printf("%s %d - %s\n", ok ? "ok" : "not ok", ++tests, what);
	failed += !ok;
}

/* --- the server ---------------------------------------------------------------- */

char *BufferBlocks;
BufferDescPadded *BufferDescriptors = descriptors;
int NBuffers = lengthof(descriptors);
bool zero_damaged_pages;
MemoryContext CurrentMemoryContext;
sigjmp_buf *PG_exception_stack;
ErrorContextCallback *error_context_stack;
static uint32 wait_event;
uint32 *my_wait_event_info = &wait_event;

bool RecoveryInProgress(void)
{
	return in_recovery;
}

bool LWLockConditionalAcquire(LWLock *lock, LWLockMode mode)
{
	return !is_locked;
}

void LWLockRelease(LWLock *lock)
{
}

void smgrclose(SMgrRelation file)
{
}

/* Each byte of a block is its number. */
static void read_file(BlockNumber number, void *block)
{
	if (on_read)
		on_read();
	if (unreadable)
		siglongjmp(*PG_exception_stack, 1);
	memset(block, number, BLCKSZ);
	PageXLogRecPtrSet(((PageHeader)block)->pd_lsn, lsn_in_file);
}

#if PG_VERSION_NUM >= 170000
SMgrRelation smgropen(RelFileLocator locator, ProcNumber backend)
{
	return NULL;
}

void smgrreadv(SMgrRelation file, ForkNumber fork, BlockNumber number, void **blocks,
	       BlockNumber count)
{
	read_file(number, blocks[0]);
}

void smgrdestroyall(void)
{
}

static void clear_tag(BufferTag *tag)
{
	ClearBufferTag(tag);
}

static void set_tag(BufferTag *tag, BlockNumber block)
{
	InitBufferTag(tag, &(RelFileLocator){ 1, 2, 3 }, MAIN_FORKNUM, block);
}
#else
SMgrRelation smgropen(RelFileNode node, BackendId backend)
{
	return NULL;
}

void smgrread(SMgrRelation file, ForkNumber fork, BlockNumber number, char *block)
{
	read_file(number, block);
}

static void clear_tag(BufferTag *tag)
{
	CLEAR_BUFFERTAG(*tag);
}

static void set_tag(BufferTag *tag, BlockNumber block)
{
	INIT_BUFFERTAG(*tag, ((RelFileNode){ 1, 2, 3 }), MAIN_FORKNUM, block);
}
#endif

bool PageIsVerifiedExtended(Page block, BlockNumber number, int flags)
{
	return !broken;
}

ErrorData *CopyErrorData(void)
{
	static ErrorData error = { .message = "too many open files" };

	return &error;
}

void FlushErrorState(void)
{
}

void FreeErrorData(ErrorData *error)
{
}

char *GetRelationPath(Oid database, Oid tablespace, Oid relation, int backend, ForkNumber fork)
{
	return NULL;
}

size_t strlcpy(char *to, const char *from, size_t size)
{
	return snprintf(to, size, "%s", from);
}

/* --- the kernel ---------------------------------------------------------------- */

int hugepoison_is_lost(int fd, const void *address)
{
	return 1;
}

int hugepoison_write(int fd, void *address, const void *contents)
{
	fills++;
	memcpy(filled, contents, RAW_PAGE);
	if (on_fill)
		on_fill();
	return 0;
}

/* --- tests --------------------------------------------------------------------- */

static void set(int buffer, uint32 state, BlockNumber block)
{
	BufferDesc *desc = GetBufferDescriptor(buffer);

	pg_atomic_write_u32(&desc->state, state);
	clear_tag(&desc->tag);
	if (state & BM_TAG_VALID)
		set_tag(&desc->tag, block);
}

/* Two buffers with parts in the page: blocks 5 and 6, clean. */
static void begin(void)
{
	in_recovery = is_locked = unreadable = broken = false;
	on_read = on_fill = NULL;
	fills = 0;
	lsn_in_file = 0;
	memset(memory, 0, 4 * BLCKSZ);
	set(0, CLEAN, 5);
	set(1, CLEAN, 6);
}

static enum outcome repair(struct finding *finding, bool modifies, bool insist)
{
	return repair_page(0, page, modifies, insist, finding);
}

static void test_clean(void)
{
	struct finding f;
	bool well = true;

	begin();
	check(repair(&f, false, false) == OUTCOME_READ && f.count == 2 && !f.in_doubt,
	      "a page with parts of two clean buffers is filled");
	for (int i = 0; i < RAW_PAGE; i++)
		if (i < IN_PAGE || i >= IN_PAGE + sizeof(PageXLogRecPtr))
			well &= filled[i] == (i < IN_PAGE ? 5 : 6);
	check(well, "with both parts");
	set(0, 0, 0);
	set(1, 0, 0);
	check(repair(&f, false, false) == OUTCOME_ZEROED && !filled[0] && !filled[RAW_PAGE - 1],
	      "unused buffers are zeroed");
}

static void test_refused(void)
{
	struct finding f;

	begin();
	set(1, CLEAN | BM_DIRTY, 6);
	check(repair(&f, false, false) == OUTCOME_DIRTY, "a dirty buffer");
	set(1, CLEAN | BM_IO_IN_PROGRESS, 6);
	check(repair(&f, false, false) == OUTCOME_BUSY, "a buffer in I/O");
	begin();
	is_locked = true;
	check(repair(&f, false, false) == OUTCOME_BUSY && repair(&f, true, false) == OUTCOME_MODIFIED,
	      "a buffer that somebody has locked, and the process that waits");
	check(f.holder[1].is_valid && f.holder[1].tag.blockNum == 6, "the log can name its block");
	begin();
	lsn_in_file = 7;
	check(repair(&f, false, false) == OUTCOME_OTHER, "another version of the block");
	begin();
	broken = true;
	check(repair(&f, false, false) == OUTCOME_UNREADABLE && !f.may_pass, "a wrong checksum stays");
	begin();
	unreadable = true;
	check(repair(&f, false, false) == OUTCOME_UNREADABLE && f.may_pass, "a failed read may pass");
	check(!fills, "nothing is filled");
}

static void test_locked(void)
{
	struct finding f;

	begin();
	set(0, CLEAN | BM_LOCKED, 5);
	check(repair(&f, false, false) == OUTCOME_BUSY && f.locked, "a locked header is busy");
	check(repair(&f, false, true) == OUTCOME_READ, "but not for ever");
	GetBufferDescriptor(0)->tag.forkNum = MAX_FORKNUM + 1;
	check(repair(&f, false, true) == OUTCOME_BUSY, "a part of a tag is no tag");
	set(0, CLEAN | BM_LOCKED, InvalidBlockNumber);
	check(repair(&f, false, true) == OUTCOME_BUSY, "nor is one without a block");
}

/* --- a buffer that changes while it is repaired ---------------------------------- */

static void begin_io(void)
{
	set(0, BM_TAG_VALID | BM_IO_IN_PROGRESS, 9);
}

static void end_io(void)
{
	set(0, CLEAN, 9);
}

static void evict(void)
{
	set(0, BM_TAG_VALID, 9);
}

static void make_dirty(void)
{
	set(0, CLEAN | BM_DIRTY | BM_IO_IN_PROGRESS, 5);
}

#define UNUSED	0
#define INVALID	BM_TAG_VALID	/* it has the tag of the block that is to be read, 9 */

/* Outcome of a repair in which buffer 0 changes from @before. */
static enum outcome change(uint32 before, void (*reading)(void), void (*filling)(void),
			   struct finding *f)
{
	begin();
	set(0, before, before & BM_VALID ? 5 : 9);
	on_read = reading;
	on_fill = filling;
	in_recovery = true;
	return repair(f, false, false);
}

static void test_changes(void)
{
	struct finding f;

	check(change(UNUSED, begin_io, NULL, &f) == OUTCOME_BUSY && !fills,
	      "an unused buffer into which a read begins is tried again");
	check(change(INVALID, begin_io, NULL, &f) == OUTCOME_BUSY &&
	      change(INVALID, end_io, NULL, &f) == OUTCOME_BUSY && !fills, "also if it had its tag");
	check(change(UNUSED, evict, NULL, &f) == OUTCOME_BUSY && !fills, "or that gets a block");
	check(change(UNUSED, end_io, NULL, &f) == OUTCOME_BUSY && !fills, "or becomes valid");
	check(change(CLEAN, evict, NULL, &f) == OUTCOME_BUSY && !fills, "or that was another block's");
	check(change(CLEAN, make_dirty, NULL, &f) == OUTCOME_READ && !f.in_doubt,
	      "a buffer that becomes dirty, and is written, is filled");
}

static void test_doubt(void)
{
	struct finding f;

	check(change(UNUSED, NULL, begin_io, &f) == OUTCOME_READ && f.in_doubt,
	      "a read of the recovery that begins when an unused buffer is filled is in doubt");
	check(change(UNUSED, NULL, end_io, &f) == OUTCOME_READ && f.in_doubt, "also when it has ended");
	check(change(CLEAN, NULL, begin_io, &f) == OUTCOME_READ && f.in_doubt,
	      "and in a buffer that was another block's");
	check(change(INVALID, NULL, begin_io, &f) == OUTCOME_READ && f.in_doubt &&
	      change(INVALID, NULL, evict, &f) == OUTCOME_READ && !f.in_doubt,
	      "and in one that had its tag");
	check(change(CLEAN, NULL, evict, &f) == OUTCOME_READ && !f.in_doubt,
	      "one that is yet to begin is not");
	check(change(CLEAN, NULL, make_dirty, &f) == OUTCOME_READ && !f.in_doubt, "nor is a write");
	begin();
	set(0, 0, 0);
	on_fill = begin_io;
	check(repair(&f, false, false) == OUTCOME_READ && !f.in_doubt,
	      "outside of recovery such a read fails");
	set(0, 0, 0);
	zero_damaged_pages = true;
	check(repair(&f, false, false) == OUTCOME_READ && f.in_doubt, "but with zero_damaged_pages");
}

int main(void)
{
	memory = mmap(NULL, 4 * BLCKSZ, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	BufferBlocks = memory + IN_PAGE;
	page = (uintptr_t)memory + BLCKSZ;
	test_clean();
	test_refused();
	test_locked();
	test_changes();
	test_doubt();
	printf("1..%d\n", tests);
	return !!failed;
}
