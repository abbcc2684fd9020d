// SPDX-License-Identifier: GPL-2.0-only
/*
 * pg_hugepoison: PostgreSQL lives on after a memory error in its shared buffers.
 *
 * On a kernel with hugepoison an uncorrectable memory error costs 4096 bytes of a hugepage. A
 * background worker fills them again, when the buffers' contents are in their files: the
 * kernel signals it early, before anybody touches them. A process that comes first waits in
 * its SIGBUS handler. repair.c has what is repaired, and why that is safe; requests.c how a process
 * waits. This file has the worker, the handler, and what the admin sees.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "access/xlog.h"
#include "catalog/pg_type_d.h"
#include "common/relpath.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "hugepoison.h"
#include "patience.h"
#include "repair.h"
#include "requests.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void hugepoison_worker_main(Datum arg);
void _PG_init(void);
PG_FUNCTION_INFO_V1(pg_hugepoison_events);

#define TRANCHE		"pg_hugepoison"
#define SHIFTS		(RAW_PAGE / (int)sizeof(LWLockPadded))
/* relative to the data directory; permanent statistics are there as well */
#define SHIFT_FILE	"pg_stat/pg_hugepoison.shift"
#define MAX_EVENTS	512
#define MAX_PENDING	1024
#define MAX_REPORTS	64
#define MAX_LOST	256
/* microseconds */
#define SOON		1000
#define SELDOM		20000
#define LATER		1000000
#define LOOK_AGAIN	10000000	/* for losses that no signal has told of */
#define BUSY_LONG	2000000		/* for a page that nobody waits for */
#define TELL_AGAIN	60000000

/* The end of a part of a raw page: a row of the view */
struct event {
	TimestampTz at;
	uintptr_t page;
	enum outcome outcome;
	bool in_buffer;
	bool has_block;
	BufferTag tag;
	struct part part;
	int waited;
	double ms;
	char structure[40];
};

struct shared {
	atomic_uintptr_t latch;		/* the worker's */
	uint64 count;			/* of events, the lock protects them */
	struct event events[MAX_EVENTS];
	struct requests requests;
};

/* A raw page that the worker has heard of */
struct pending {
	uintptr_t page;
	TimestampTz since;
	TimestampTz next;		/* when to try again */
	TimestampTz busy;		/* since when a reason that may pass has kept it */
	struct patience patience;
	TimestampTz told_at;
	enum outcome told;
	int waited;			/* processes */
};

static const char *const what[] = {
	[OUTCOME_READ] = "read again from its file",
	[OUTCOME_ZEROED] = "unused, zeroed",
	[OUTCOME_GOOD] = "good",
	[OUTCOME_BUSY] = "not repaired: I/O in progress, or being modified",
	[OUTCOME_DIRTY] = "not repaired: dirty",
	[OUTCOME_MODIFIED] = "not repaired: being modified",
	[OUTCOME_UNREADABLE] = "not repaired: cannot be read from its file",
	[OUTCOME_OTHER] = "not repaired: its file has another version",
	[OUTCOME_NO_MEMORY] = "not repaired: no memory",
	[OUTCOME_OUTSIDE] = "not repaired: outside the buffers",
	[OUTCOME_WHOLE] = "not repaired: all of the hugepage is lost",
	[OUTCOME_FAILED] = "not repaired: the kernel refused",
};

enum restart {
	RESTART_OFF,
	RESTART_ON,
	RESTART_AUTO,		/* without data checksums */
};

static const struct config_enum_entry restarts[] = {
	{ "auto", RESTART_AUTO, false },
	{ "on", RESTART_ON, false }, { "off", RESTART_OFF, false },
	{ "true", RESTART_ON, true }, { "false", RESTART_OFF, true },
	{ "yes", RESTART_ON, true }, { "no", RESTART_OFF, true },
	{ "1", RESTART_ON, true }, { "0", RESTART_OFF, true },
	{ NULL, 0, false }
};

static int wait_limit = 10000;
static int restart_when_lost = RESTART_AUTO;
static int shift_setting = -1;
static int shift;		/* in use */

static struct shared *shared;
static LWLock *events_lock;
static struct sigaction before;
static bool is_worker;
static atomic_uintptr_t reported[MAX_REPORTS];	/* from the signal to the worker */
static atomic_uint reports;
static struct pending pending[MAX_PENDING];
static int pendings;
static int own = -1;
static bool can_repair;		/* the kernel can */

static shmem_request_hook_type previous_request;
static shmem_startup_hook_type previous_startup;

/* --- the handler, in any process -------------------------------------------------- */

/* Returns whether there is a worker. */
static bool wake_worker(void)
{
	Latch *latch = (Latch *)shared->latch;

	if (latch)
		SetLatch(latch);
	return latch;
}

/* Whether this process may have modified a buffer that is not marked dirty. */
static bool modifies(uintptr_t page)
{
	struct buffers buffers = shared_buffers();

	for (int i = first_buffer(&buffers, page); i <= last_buffer(&buffers, page); i++) {
		BufferDesc *desc = GetBufferDescriptor(i);

		if (LWLockHeldByMeInMode(BufferDescriptorGetContentLock(desc), LW_EXCLUSIVE))
			return true;
	}
	return false;
}

/* In a handler: no function that formats. */
static void say(const char *text, uintptr_t address)
{
	char line[160];
	char *at = line;

	for (; *text && at < line + 120; text++)
		*at++ = *text;
	for (int shift = 44; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[address >> shift & 15];
	*at++ = '\n';
	if (write(STDERR_FILENO, line, at - line) < 0)
		return;
}

/* Returns whether the access may be repeated. */
static bool wait_for_page(uintptr_t address)
{
	struct buffers buffers = shared_buffers();
	uintptr_t page = address & -(uintptr_t)RAW_PAGE;
	bool refused;

	/* nobody would repair it for the worker, and all wait for the postmaster */
	if (!shared || is_worker || !IsUnderPostmaster)
		return false;
	if (!in_buffers(&buffers, page)) {
		say("pg_hugepoison: lost memory outside the buffers was touched, at 0x", address);
		return false;
	}
	if (request_page(&shared->requests, page, modifies(page), wait_limit, wake_worker,
			 &refused))
		return true;
	if (!refused)
		say("pg_hugepoison: a process waited too long for lost memory at 0x", page);
	return false;
}

/* The signal is not for us, or nothing can be done: as without us. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else {
		signal(sig, SIG_DFL);
		/* what the process did happens again; what somebody sent, not by itself */
		if (info->si_code <= 0)
			kill(getpid(), sig);
	}
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	uintptr_t address = (uintptr_t)info->si_addr;

	if (info->si_code == BUS_MCEERR_AO) {
		/* also to others, when the host's policy is early kill: nobody has touched it */
		if (is_worker) {
			reported[reports % MAX_REPORTS] = address & -(uintptr_t)RAW_PAGE;
			reports++;
			SetLatch(MyLatch);
		}
	} else if (info->si_code != BUS_MCEERR_AR || !wait_for_page(address)) {
		pass_on(sig, info, context);
	}
	errno = saved;
}

/* --- what the admin sees ---------------------------------------------------------- */

/* The structure that a raw page is in, as far as the worker can know. */
static const char *structure_of(uintptr_t page)
{
	const struct buffers buffers = shared_buffers();
	const struct {
		const char *name;
		uintptr_t begin;
		size_t len;
	} known[] = {
		{ "Buffer Descriptors", (uintptr_t)BufferDescriptors,
		  NBuffers * sizeof(BufferDescPadded) },
		{ "Buffer IO Condition Variables", (uintptr_t)BufferIOCVArray,
		  NBuffers * sizeof(ConditionVariableMinimallyPadded) },
		{ "PGPROC structures", (uintptr_t)ProcGlobal->allProcs,
		  ProcGlobal->allProcCount * sizeof(PGPROC) },
		{ "Main LWLock Array", (uintptr_t)MainLWLockArray,
		  NUM_FIXED_LWLOCKS * sizeof(LWLockPadded) },
		{ TRANCHE, (uintptr_t)shared, sizeof(*shared) },
	};

	if (in_buffers(&buffers, page))
		return "Buffer Blocks";
	for (int i = 0; i < lengthof(known); i++)
		if (page + RAW_PAGE > known[i].begin && page < known[i].begin + known[i].len)
			return known[i].name;
	return touches_buffers(&buffers, page) ? "the edge of Buffer Blocks" : "unknown or unused";
}

static void add_event(const struct event *event)
{
	LWLockAcquire(events_lock, LW_EXCLUSIVE);
	shared->events[shared->count++ % MAX_EVENTS] = *event;
	LWLockRelease(events_lock);
}

static void describe(StringInfo text, const struct event *event)
{
	char *path;

	if (!event->in_buffer || !event->has_block) {
		appendStringInfo(text, "%s", event->in_buffer ? "an unused buffer" :
				 event->structure);
		return;
	}
	path = tag_path(&event->tag);
	appendStringInfo(text, "block %u of %s%s, bytes %zu to %zu", event->tag.blockNum, path,
			 event->outcome == OUTCOME_DIRTY ? " (dirty)" : "", event->part.in_block,
			 event->part.in_block + event->part.len - 1);
	pfree(path);
}

static void add_events(struct event *event, const struct finding *finding, StringInfo text)
{
	enum outcome outcome = event->outcome;

	if (!finding->count) {
		describe(text, event);
		add_event(event);
	}
	for (int i = 0; i < finding->count; i++) {
		const struct holder *holder = &finding->holder[i];

		event->in_buffer = true;
		event->outcome = is_repaired(holder->outcome) && !is_repaired(outcome) ?
				 outcome : holder->outcome;
		event->part = holder->part;
		event->has_block = holder->is_valid;
		event->tag = holder->tag;
		if (i)
			appendStringInfoString(text, "; ");
		describe(text, event);
		add_event(event);
	}
}

/* Log what became of a raw page, and add it to the view. */
static void tell(const struct pending *p, enum outcome outcome, const struct finding *finding)
{
	struct event event = { .at = GetCurrentTimestamp(), .page = p->page, .outcome = outcome,
			       .waited = p->waited };
	StringInfoData text;

	event.ms = (event.at - p->since) / 1000.0;
	strlcpy(event.structure, structure_of(p->page), sizeof(event.structure));
	initStringInfo(&text);
	add_events(&event, finding, &text);
	if (finding->why[0])
		appendStringInfo(&text, ": %s", finding->why);
	if (outcome == OUTCOME_FAILED)
		appendStringInfo(&text, ": %s", strerror(finding->error));
	if (is_repaired(outcome))
		ereport(LOG, errmsg("pg_hugepoison: repaired lost memory at 0x%lx, %s: %s",
				    (unsigned long)p->page, what[outcome], text.data),
			errdetail("It took %.1f ms, and %d processes waited.", event.ms,
				  p->waited));
	else
		ereport(WARNING, errmsg("pg_hugepoison: lost memory at 0x%lx %s: %s",
					(unsigned long)p->page, what[outcome], text.data),
			errhint("A process that touches it is killed, and the server recovers."));
	pfree(text.data);
}

static const char *fork_name(const BufferTag *tag)
{
#if PG_VERSION_NUM >= 160000
	return forkNames[BufTagGetForkNum(tag)];
#else
	return forkNames[tag->forkNum];
#endif
}

#define COLUMNS	12

static void put_event(ReturnSetInfo *set, const struct event *event)
{
	Datum values[COLUMNS];
	bool nulls[COLUMNS] = { false };
	char address[32];

	snprintf(address, sizeof(address), "0x%lx", (unsigned long)event->page);
	values[0] = TimestampTzGetDatum(event->at);
	values[1] = CStringGetTextDatum(address);
	values[2] = CStringGetTextDatum(event->structure);
	memset(nulls + 3, !event->has_block, 5);
	if (event->has_block) {
		values[3] = ObjectIdGetDatum(tag_tablespace(&event->tag));
		values[4] = ObjectIdGetDatum(tag_database(&event->tag));
		values[5] = ObjectIdGetDatum(tag_relation(&event->tag));
		values[6] = CStringGetTextDatum(fork_name(&event->tag));
		values[7] = Int64GetDatum(event->tag.blockNum);
	}
	values[8] = CStringGetTextDatum(what[event->outcome]);
	values[9] = BoolGetDatum(is_repaired(event->outcome));
	values[10] = Int32GetDatum(event->waited);
	values[11] = Float8GetDatum(event->ms);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/* The view's rows, oldest first. */
Datum pg_hugepoison_events(PG_FUNCTION_ARGS)
{
	struct event *copy;
	uint64 count;

	if (!shared)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("pg_hugepoison must be in shared_preload_libraries"));
	InitMaterializedSRF(fcinfo, 0);
	copy = palloc(sizeof(shared->events));
	LWLockAcquire(events_lock, LW_SHARED);
	memcpy(copy, shared->events, sizeof(shared->events));
	count = shared->count;
	LWLockRelease(events_lock);
	for (uint64 i = count > MAX_EVENTS ? count - MAX_EVENTS : 0; i < count; i++)
		put_event((ReturnSetInfo *)fcinfo->resultinfo, &copy[i % MAX_EVENTS]);
	pfree(copy);
	return (Datum)0;
}

/* --- the worker ------------------------------------------------------------------- */

/* More than the worker remembers at a time: the rest is heard of again, from the kernel. */
static void tell_full(long count, int max)
{
	static TimestampTz told;
	TimestampTz now = GetCurrentTimestamp();

	if (told && now - told < TELL_AGAIN)
		return;
	told = now;
	ereport(WARNING, errmsg("pg_hugepoison: %ld raw pages are lost, %d are tended at a time",
				count, max));
}

/* Hear of a raw page, and try it after @delay. */
static void add_pending(uintptr_t page, TimestampTz delay)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < pendings; i++) {
		if (pending[i].page == page) {
			pending[i].next = Min(pending[i].next, now + delay);
			return;
		}
	}
	if (pendings < MAX_PENDING)
		pending[pendings++] = (struct pending){ .page = page, .since = now,
							.next = now + delay };
	else
		tell_full(pendings + 1, MAX_PENDING);
}

/* Returns whether there were any: errors that come together may be one signal. */
static bool hear_signals(void)
{
	static unsigned int heard;
	bool any = heard != reports;

	for (; heard != reports; heard++)
		add_pending(reported[heard % MAX_REPORTS], 0);
	return any;
}

static void hear_requests(void)
{
	for (int i = 0; i < MAX_REQUESTS; i++) {
		struct request *request = &shared->requests.request[i];

		if (request_state(request->word) == REQUEST_ASKED)
			add_pending(request->page, 0);
	}
}

/*
 * Errors that came before the worker, or so fast that a signal was lost. The kernel lists a page
 * when it begins to handle its error, and signals it when no process maps it any more: a page
 * of the list has some time.
 */
static void hear_kernel(void)
{
	struct hugepoison_lost lost[MAX_LOST];
	long count = hugepoison_list(lost, MAX_LOST);

	if (count > MAX_LOST)
		tell_full(count, MAX_LOST);
	for (long i = 0; i < count && i < MAX_LOST; i++)
		add_pending(lost[i].address, LATER);
}

/* Recovery by the log is the only way. The postmaster takes this exit status for a crash. */
static void restart_server(const char *why)
{
	ereport(LOG, errmsg("pg_hugepoison: the server is restarted, %s", why));
	_exit(2);
}

/*
 * A dirty buffer cannot be repaired. With checksums its write copies it, and the process is
 * killed; without it is given to write(), so that each checkpoint fails with EFAULT from then
 * on.
 */
static bool restarts_when_dirty(void)
{
	return restart_when_lost == RESTART_ON ||
	       (restart_when_lost == RESTART_AUTO && !DataChecksumsEnabled());
}

/* Whether the reason may go away while a process waits, or within moments. */
static bool may_pass(enum outcome outcome, const struct finding *finding)
{
	switch (outcome) {
	case OUTCOME_BUSY:
	case OUTCOME_NO_MEMORY:
	case OUTCOME_FAILED:
		return true;
	case OUTCOME_UNREADABLE:
		return finding->may_pass;
	default:
		return false;
	}
}

/* Whether the worker tries a page again soon, before it logs anything. */
static bool is_patient(const struct pending *p, TimestampTz now)
{
	if (p->patience.waiting)
		return !is_late(&p->patience, now, wait_limit * (int64)1000);
	return now - p->busy < BUSY_LONG;
}

/*
 * Whether the log gets an outcome: a repair and a refusal always do, another reason when it is
 * new, once a minute.
 */
static bool is_news(const struct pending *p, enum outcome outcome, TimestampTz now)
{
	if (outcome == OUTCOME_GOOD)
		return false;
	if (is_repaired(outcome) || p->patience.waiting)
		return true;
	return outcome != p->told && (!p->told_at || now - p->told_at >= TELL_AGAIN);
}

/* A page is not repaired, and no later try comes in time for the processes that wait. */
static void refuse(const struct pending *p, enum outcome outcome)
{
	if (outcome == OUTCOME_DIRTY && restarts_when_dirty())
		restart_server("as a dirty buffer is lost");
	/* the whole server ends when the process of the recovery is killed */
	if (p->patience.waiting && RecoveryInProgress())
		restart_server("as its recovery cannot go on");
	answer_requests(&shared->requests, p->page, false);
}

/* Try to repair a page. Returns whether that is all. */
static bool attend(struct pending *p)
{
	struct finding finding;
	TimestampTz now = GetCurrentTimestamp();
	bool changing;
	int waiting = count_requests(&shared->requests, p->page, &changing);
	enum outcome outcome;

	note_waiting(&p->patience, now, waiting);
	outcome = repair_page(own, p->page, changing, is_locked_long(&p->patience, now), &finding);
	note_locked(&p->patience, now, finding.locked);
	if (finding.in_doubt)
		restart_server("as a block was read into lost memory");
	if (is_repaired(outcome)) {
		int answered = answer_requests(&shared->requests, p->page, true);

		waiting = Max(waiting, answered);
	}
	p->waited = Max(p->waited, waiting);
	if (!may_pass(outcome, &finding))
		p->busy = 0;
	else if (!p->busy)
		p->busy = now;
	if (p->busy && is_patient(p, now)) {
		p->next = now + (outcome == OUTCOME_BUSY && now - p->busy < LATER ? SOON : SELDOM);
		return false;
	}
	p->next = now + LATER;
	if (is_news(p, outcome, now)) {
		tell(p, outcome, &finding);
		p->told = outcome;
		p->told_at = now;
	}
	/* after the log: the processes die, and the server ends the worker as well */
	if (!is_repaired(outcome))
		refuse(p, outcome);
	return is_repaired(outcome);
}

static void attend_all(void)
{
	for (int i = 0; i < pendings; i++) {
		if (pending[i].next <= GetCurrentTimestamp() && attend(&pending[i]))
			pending[i--] = pending[--pendings];
	}
}

/* Milliseconds until there is something to do. */
static long time_left(TimestampTz look)
{
	TimestampTz next = look;
	long left;

	for (int i = 0; i < pendings; i++)
		next = Min(next, pending[i].next);
	left = (next - GetCurrentTimestamp()) / 1000;
	return Max(1, left);
}

static void forget_latch(int code, Datum arg)
{
	shared->latch = 0;
}

/* Say once whether this can work at all. */
static void check_memory(void)
{
	struct buffers buffers = shared_buffers();
	uintptr_t page = TYPEALIGN(RAW_PAGE, buffers.begin);
	int lost = hugepoison_is_lost(own, (void *)page);

	if (lost == -EINVAL)
		ereport(WARNING, errmsg("pg_hugepoison: the shared buffers are not on hugepages"),
			errhint("Nothing is repaired. Set huge_pages = on."));
	else if (lost < 0)
		ereport(WARNING, errmsg("pg_hugepoison: the kernel: %s", strerror(-lost)));
	else
		ereport(LOG, errmsg("pg_hugepoison: watching %d buffers", NBuffers));
}

static void start_worker(void)
{
	is_worker = true;
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	own = hugepoison_open();
	if (own < 0)
		ereport(ERROR, errmsg("pg_hugepoison: cannot open /proc/hugepoison/own: %s",
				      strerror(-own)));
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	shared->latch = (uintptr_t)MyLatch;
	before_shmem_exit(forget_latch, 0);
	BackgroundWorkerUnblockSignals();
	check_memory();
}

static void wait_for_work(TimestampTz look)
{
	WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, time_left(look),
		  PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending) {
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void hugepoison_worker_main(Datum arg)
{
	TimestampTz look = 0;

	start_worker();
	while (!ShutdownRequestPending) {
		if (hear_signals() || look <= GetCurrentTimestamp()) {
			hear_kernel();
			free_requests_of_dead(&shared->requests);
			look = GetCurrentTimestamp() + LOOK_AGAIN;
		}
		hear_requests();
		attend_all();
		wait_for_work(look);
	}
	/* not 0: the postmaster would never start it again */
	proc_exit(1);
}

/* --- start ------------------------------------------------------------------------ */

/*
 * Before PostgreSQL 16 buffers begin somewhere in a page, so that a lost page may have parts of
 * two, and a dirty one keeps the other one from being repaired. Locks come before buffers in
 * shared memory: more of them shift the buffers. How many it takes is known when memory has
 * been made, so a file has the number for the next start.
 */
static int read_shift(void)
{
	FILE *file = fopen(SHIFT_FILE, "r");
	int found = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%d", &found) != 1 || found < 0 || found >= SHIFTS)
		found = 0;
	fclose(file);
	return found;
}

static void write_shift(int next)
{
	FILE *file = fopen(SHIFT_FILE, "w");

	if (!file || fprintf(file, "%d\n", next) < 0 || fflush(file))
		ereport(LOG, errcode_for_file_access(),
			errmsg("pg_hugepoison: could not write \"%s\": %m", SHIFT_FILE));
	if (file)
		fclose(file);
}

static void check_alignment(void)
{
	int offset = (uintptr_t)BufferBlocks % RAW_PAGE;
	int next = (shift + (RAW_PAGE - offset) / (int)sizeof(LWLockPadded)) % SHIFTS;

	if (!offset || offset % sizeof(LWLockPadded))
		return;
	if (shift_setting < 0)
		write_shift(next);
	ereport(LOG, errmsg("pg_hugepoison: buffers begin %d bytes into a page", offset),
		errhint("They begin with a page after the next start, or with pg_hugepoison.shift = %d.",
			next));
}

static void request_memory(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(sizeof(struct shared));
	shift = shift_setting < 0 ? read_shift() : shift_setting;
	RequestNamedLWLockTranche(TRANCHE, 1 + shift);
}

/* After a crash again, with new memory. */
static void make_memory(void)
{
	bool found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(TRANCHE, sizeof(*shared), &found);
	if (!found)
		memset(shared, 0, sizeof(*shared));
	events_lock = &GetNamedLWLockTranche(TRANCHE)->lock;
	LWLockRelease(AddinShmemInitLock);
	if (can_repair)
		check_alignment();
}

static void define_settings(void)
{
	DefineCustomIntVariable("pg_hugepoison.timeout",
				"How long a process waits for lost memory to be repaired.",
				NULL, &wait_limit, 10000, 100, 600000, PGC_SIGHUP, GUC_UNIT_MS,
				NULL, NULL, NULL);
	DefineCustomEnumVariable("pg_hugepoison.restart_when_lost",
				 "Restarts the server at once when a dirty buffer is lost.",
				 "Otherwise the process is killed that touches it first. auto: without data checksums.",
				 &restart_when_lost, RESTART_AUTO, restarts, PGC_SIGHUP, 0, NULL,
				 NULL, NULL);
	DefineCustomIntVariable("pg_hugepoison.shift",
				"Shifts the buffers in shared memory, by 128 bytes each.",
				"-1: as far as the last start found that it takes.",
				&shift_setting, -1, -1, SHIFTS - 1, PGC_POSTMASTER, 0, NULL, NULL,
				NULL);
	MarkGUCPrefixReserved("pg_hugepoison");
}

static void register_worker(void)
{
	BackgroundWorker worker = {
		.bgw_name = "pg_hugepoison", .bgw_type = "pg_hugepoison",
		.bgw_library_name = "pg_hugepoison",
		.bgw_function_name = "hugepoison_worker_main",
		.bgw_flags = BGWORKER_SHMEM_ACCESS,
		.bgw_start_time = BgWorkerStart_PostmasterStart, .bgw_restart_time = 1,
	};

	RegisterBackgroundWorker(&worker);
}

/*
 * The handler may wait for seconds, in the midst of any access to a buffer: no other handler
 * comes in between. One that ends the process, as that for SIGTERM of a background worker does,
 * would find locks held; one that touches a lost page itself would be killed, as SIGBUS is
 * blocked. SIGQUIT ends a process without looking at anything.
 */
static void block_signals(sigset_t *mask)
{
	static const int exceptions[] = {
		SIGQUIT, SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS,
	};

	sigfillset(mask);
	for (int i = 0; i < lengthof(exceptions); i++)
		sigdelset(mask, exceptions[i]);
}

void _PG_init(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | SA_RESTART };
	int fd;

	if (!process_shared_preload_libraries_in_progress)
		return;
	define_settings();
	previous_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = make_memory;
	/* the postmaster's own, which is of no use to its children */
	fd = hugepoison_open();
	if (fd < 0) {
		ereport(LOG, errmsg("pg_hugepoison: off, as this kernel repairs no memory: %s",
				    strerror(-fd)));
		return;
	}
	close(fd);
	can_repair = true;
	action.sa_sigaction = on_sigbus;
	block_signals(&action.sa_mask);
	sigaction(SIGBUS, &action, &before);
	register_worker();
}
