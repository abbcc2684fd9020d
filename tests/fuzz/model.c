// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contents that each page must have.
 *
 * Some words of a stamped page name its thing, its page in the thing, and how
 * often it was written. A model has the expected contents: a version and a kind of
 * content. No lock is held while a page is written, discarded or read: writers and
 * discarders mark begin and end in the model. Where no other operation came in
 * between, the model knows the contents exactly. Where one did, each word may be
 * zero, or any written value. Content of another page, of another thing or of an
 * earlier round is wrong at any time.
 *
 * bits 0-7 busy: writers and discarders at work
 * bits 8-15 content
 * bits 16-39 sequence: counts all of them
 * bits 40-63 version: counts writers
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "fuzz.h"

/* Neither a stamp nor zero: the buffer of a read that read nothing. */
#define NEVER_READ	0x5a5a5a5a5a5a5a5aUL

#define BUSY(m)		((unsigned int)((m) & 0xff))
#define CONTENT(m)	((enum content)((m) >> 8 & 0xff))
#define SEQUENCE(m)	((unsigned int)((m) >> 16 & 0xffffff))
#define VERSION(m)	((unsigned int)((m) >> 40 & 0xfffff))

static unsigned long make(unsigned int busy, enum content content, unsigned int sequence,
			  unsigned int version)
{
	return busy | (unsigned long)content << 8 | (unsigned long)(sequence & 0xffffff) << 16 |
	       (unsigned long)(version & 0xfffff) << 40;
}

static unsigned long load(const unsigned long *model)
{
	return __atomic_load_n(model, __ATOMIC_SEQ_CST);
}

static bool swap(unsigned long *model, unsigned long *old, unsigned long new)
{
	return __atomic_compare_exchange_n(model, old, new, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/* Returns the model as it is from now on. */
static unsigned long begin(unsigned long *model, bool write)
{
	unsigned long old = load(model), new;

	do {
		new = make(BUSY(old) + 1, CONTENT(old), SEQUENCE(old) + 1,
			   VERSION(old) + write);
	} while (!swap(model, &old, new));
	return new;
}

/* @began: what begin() said; all was quiet if it is still so and none was before. */
static void end(unsigned long *model, unsigned long began, enum content content)
{
	unsigned long old = load(model), new;
	bool alone;

	do {
		alone = SEQUENCE(old) == SEQUENCE(began) && BUSY(began) == 1;
		new = make(BUSY(old) - 1, alone ? content : UNSURE, SEQUENCE(old) + 1,
			   VERSION(old));
	} while (!swap(model, &old, new));
}

/* Not while somebody is at work on it. */
void model_set(unsigned long *model, enum content content)
{
	*model = make(0, content, SEQUENCE(*model) + 1, VERSION(*model));
}

void model_unsure(unsigned long *model)
{
	unsigned long old = *model;

	*model = make(0, CONTENT(old) == OF_FILE ? OF_FILE : UNSURE, SEQUENCE(old) + 1,
		      VERSION(old));
}

/* --- stamps ----------------------------------------------------------------- */

/* id 14 bits, page 20, version 20, the rest proves them */
static unsigned long stamp(unsigned long id, unsigned long page, unsigned long version, int word)
{
	unsigned long said = id << 50 | page << 30 | version << 10;

	return said | (mix(said ^ mix(fz->seed) ^ word) & 0x3ff);
}

static bool is_stamp(unsigned long value, int id, unsigned int page, int word)
{
	unsigned int version = value >> 10 & 0xfffff;

	return version && value == stamp(id, page, version, word);
}

unsigned int watched_page(unsigned long size, unsigned int watched)
{
	return size == HP_2M ? watched : watched * 512 + watched * 37 % 512;
}

static unsigned int page_number(const struct slot *slot, unsigned int hugepage,
				unsigned int watched)
{
	unsigned long size = slot_thing(slot)->size;

	return (slot->first + hugepage) * (size / HP_BASE) + watched_page(size, watched);
}

unsigned long *slot_model(const struct slot *slot, unsigned int hugepage, unsigned int watched)
{
	unsigned long *model = slot->private ? slot->model : slot_thing(slot)->model;

	return &model[(slot->first + hugepage) * WATCHED + watched];
}

/* --- checking ----------------------------------------------------------------- */

static bool word_is_right(const struct slot *slot, unsigned int page, int word, unsigned long value,
			  unsigned long model, bool quiet)
{
	enum content content = CONTENT(model);

	if (quiet && content == ZERO)
		return !value;
	if (quiet && content == EXACT)
		return value == stamp(slot->id, page, VERSION(model), word);
	if (!value || is_stamp(value, slot->id, page, word))
		return true;
	return slot->file >= 0 && is_stamp(value, slot->file, page, word);
}

static void describe(char *text, size_t len, const struct slot *slot, unsigned int hugepage,
		     unsigned int watched)
{
	static const char *const kinds[] = {
		"none", "anonymous", "memfd", "file", "SysV", "private"
	};
	const struct thing *thing = slot_thing(slot);

	snprintf(text, len, "%s %s%d of %u %luM, hugepage %u, page %u, at %p%s",
		 kinds[thing->kind], slot->file >= 0 ? "of a file, " : "", slot->id, thing->nr,
		 thing->size >> 20, slot->first + hugepage, watched,
		 slot_page(slot, hugepage, watched), me.child ? ", in a child" : "");
}

static void wrong_content(const struct slot *slot, unsigned int hugepage, unsigned int watched,
			  const unsigned long *words, unsigned long model, bool quiet)
{
	static const char *const contents[] = { "zero", "exact", "unsure", "the file's" };
	const char *at = slot_page(slot, hugepage, watched);
	char where[256], wanted[64], frames[128];
	unsigned long again[WORDS] = { }, marks[MARKS] = { }, in_file = 0;
	const struct thing *thing = slot_thing(slot);
	off_t offset = (off_t)page_number(slot, hugepage, watched) * HP_BASE;

	describe(where, sizeof(where), slot, hugepage, watched);
	snprintf(wanted, sizeof(wanted), "%s%s, version %u", contents[CONTENT(model)],
		 quiet ? "" : " (others at work)", VERSION(model));
	/* those beside it tell whether the page is part of a hugepage */
	snprintf(frames, sizeof(frames), "page frame %#x, first of its hugepage %#x, beside it %#x",
		 ask_hand(DO_WHERE, at, 0, true),
		 ask_hand(DO_WHERE, slot_page(slot, hugepage, 0), 0, true),
		 ask_hand(DO_WHERE, at + (watched ? -HP_BASE : HP_BASE), 0, true));
	touch_read(at, again);
	/* the address of another page says that it was copied, or is mapped here */
	touch_read_marks(at, marks);
	/* by its offset, without a page table: other than what is mapped, or the same */
	if (thing->fd >= 0 && pread(thing->fd, &in_file, sizeof(in_file), offset) < 0)
		in_file = errno;
	finding("wrong content: %s: %016lx %016lx %016lx %016lx; must be %s; read again %016lx;"
		" written at %#lx by %ld as call %ld; in the file %016lx; %s",
		where, words[0], words[1], words[2], words[3], wanted, again[0], marks[0],
		marks[1] >> 32, marks[1] & 0xffffffff, in_file, frames);
}

static void is_lost(const struct slot *slot, unsigned int hugepage, unsigned int watched,
		    enum touch how)
{
	char where[256];

	count(how == LOST ? &fz->losses : &fz->wide_losses);
	if (how == LOST && fz->doomed[watched])
		return;
	/* a device had it pinned, the child was forked before its parent was narrowed */
	if (how == LOST_WIDE && slot->private && me.child)
		return;
	if (how == LOST_WIDE && (fz->faults || fz->wide || slot_thing(slot)->wide))
		return;
	describe(where, sizeof(where), slot, hugepage, watched);
	finding("a healthy page is lost%s: %s", how == LOST ? "" : " with all of its hugepage",
		where);
}

/* The slot is held. */
void check_page(const struct slot *slot, unsigned int hugepage, unsigned int watched)
{
	unsigned int page = page_number(slot, hugepage, watched);
	unsigned long *model = slot_model(slot, hugepage, watched);
	unsigned long before = load(model), after;
	unsigned long words[WORDS] = { NEVER_READ, NEVER_READ, NEVER_READ, NEVER_READ };
	enum touch how;
	bool quiet;

	how = touch_read(slot_page(slot, hugepage, watched), words);
	after = load(model);
	quiet = before == after && !BUSY(before);
	count(&fz->checks);
	if (how == LOST || how == LOST_WIDE)
		is_lost(slot, hugepage, watched, how);
	if (how != FINE)
		return;
	for (int i = 0; i < WORDS; i++)
		if (!word_is_right(slot, page, i, words[i], before, quiet)) {
			wrong_content(slot, hugepage, watched, words, before, quiet);
			return;
		}
}

/* The slot is held. */
void stamp_page(const struct slot *slot, unsigned int hugepage, unsigned int watched)
{
	unsigned int page = page_number(slot, hugepage, watched);
	unsigned long *model = slot_model(slot, hugepage, watched);
	unsigned long began = begin(model, true);
	unsigned long words[WORDS];
	enum touch how;

	for (int i = 0; i < WORDS; i++)
		words[i] = stamp(slot->id, page, VERSION(began), i);
	how = touch_write(slot_page(slot, hugepage, watched), words);
	/* who punches or truncates the file takes private copies as well */
	end(model, began, slot->file >= 0 ? OF_FILE : how == FINE ? EXACT : UNSURE);
	if (how == LOST || how == LOST_WIDE)
		is_lost(slot, hugepage, watched, how);
}

/*
 * Fill a page that is lost, with a new stamp. Where it fails nothing has changed, but the
 * stamp's version is used up. Returns 0 or -errno. The slot is held.
 */
int refill_page(const struct slot *slot, unsigned int hugepage, unsigned int watched)
{
	unsigned int page = page_number(slot, hugepage, watched);
	unsigned long *model = slot_model(slot, hugepage, watched);
	unsigned long words[WORDS], began;
	char buf[HP_BASE];
	int own = open("/proc/hugepoison/own", O_RDWR | O_CLOEXEC), ret;

	if (own < 0)
		return -errno;
	began = begin(model, true);
	for (int i = 0; i < WORDS; i++)
		words[i] = stamp(slot->id, page, VERSION(began), i);
	fill_words(buf, words);
	ret = pwrite(own, buf, sizeof(buf), (off_t)slot_page(slot, hugepage, watched)) < 0 ?
	      -errno : 0;
	end(model, began, slot->file >= 0 ? OF_FILE : ret ? UNSURE : EXACT);
	close(own);
	return ret;
}

/* Some pages at random. */
void check_all(const struct slot *slot, struct rng *rng, unsigned int nr)
{
	while (nr-- && !stopped())
		check_page(slot, rnd(rng, slot->nr), rnd(rng, WATCHED));
}

/* --- discarding ---------------------------------------------------------------- */

static bool is_in(unsigned long size, unsigned int index, unsigned long from, unsigned long to)
{
	unsigned long at = index / WATCHED * size +
			   watched_page(size, index % WATCHED) * HP_BASE;

	return at >= from && at + HP_BASE <= to;
}

/*
 * Pages from @from to @to, in bytes of the thing, are no more what they were when
 * @act was done; if it fails they may be either.
 */
int discard(int id, unsigned long *model, unsigned long from, unsigned long to,
	    enum content then, int (*act)(void *), void *arg)
{
	unsigned long size = fz->thing[id].size;
	unsigned long began[NR_MOST * WATCHED];
	int ret;

	for (int i = 0; i < NR_MOST * WATCHED; i++)
		if (is_in(size, i, from, to))
			began[i] = begin(&model[i], false);
	ret = act(arg);
	for (int i = 0; i < NR_MOST * WATCHED; i++)
		if (is_in(size, i, from, to))
			end(&model[i], began[i],
			    ret ? (then == OF_FILE ? OF_FILE : UNSURE) : then);
	return ret;
}
