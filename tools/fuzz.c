// SPDX-License-Identifier: GPL-2.0
/*
 * Fuzzes the inputs of hugepoison-inject: its command line, and the kernel's files. For
 * libFuzzer, with ASan and UBSan: make -C tools fuzz. The first byte chooses the parser.
 *
 * It includes the tool's files, so that it reaches their static functions:
 * /proc/kpageflags and kpagecount become a file that holds the input.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "hugepage.c"
#include "inject.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *text_of(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

static void require(bool truth)
{
	if (!truth)
		abort();
}

/* Words, one a line, for one of the commands. ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_NO_HELP */
static void fuzz_arguments(const uint8_t *data, size_t size)
{
	const unsigned int flags = 0x20 | 0x02 | 0x10;
	char *text, *word, *save = NULL, *argv[34] = { "fuzz" };
	struct options opt;
	int argc = 1;

	if (!size)
		return;
	text = text_of(data + 1, size - 1);
	for (word = strtok_r(text, "\n", &save); word && argc < 33;
	     word = strtok_r(NULL, "\n", &save))
		argv[argc++] = word;
	quiet = true;
	if (!options_parse(1 << data[0] % 9, argc, argv, "", flags, &opt)) {
		require(opt.end <= UINT64_MAX && opt.way <= WAY_MCE);
		require(opt.subpage <= SUBPAGE_INDEX && opt.state <= STATE_PINNED);
	}
	free(text);
}

static void fuzz_numbers(const uint8_t *data, size_t size)
{
	char *text = text_of(data, size);
	uint64_t start = 0, end = 0;

	if (!parse_number(text, true, INT64_MAX, &start))
		require(start <= INT64_MAX);
	if (!parse_range(text, true, INT64_MAX, &start, &end))
		require(start <= INT64_MAX && (!end || end > start));
	free(text);
}

/* The kernel's lines, one by one; and a soak's report. */
static void fuzz_lines(const uint8_t *data, size_t size)
{
	const struct options opt = { .kind = TARGET_PID, .pid = 1, .everywhere = true };
	char *text = text_of(data, size), state[12], path[16], *record;
	FILE *f = size ? fmemopen(text, size, "r") : NULL;
	struct store store = { 0 };
	struct soak soak = { 0 };
	uint64_t a, b, c;
	struct event event;
	struct bad bad;
	struct vma vma;

	if (event_parse(text, &event)) {
		char fields[2048];

		event_fields(&event, fields, sizeof(fields));
		require(event.kind <= EVENT_LOST && strlen(fields) < sizeof(fields));
	}
	injected_line(text, &a);
	if (f) {
		store_parse(&store, f);
		fclose(f);
		store_free(&store);
	}
	if (parse_bad(text, &bad)) {
		owner_path(&bad, path, sizeof(path));
		require(strlen(path) < sizeof(path));
		owner_shmid(&bad);
	}
	if (parse_own(text, &a, &b, &c, state))
		require(a < b && strlen(state) < sizeof(state));
	if (parse_vma(text, &vma))
		require(vma.start < vma.end && strlen(vma.name) < sizeof(vma.name));
	log_line_pfn(text, &a);
	journal_parse(text, &opt, &soak);
	record = log_record_text(text);
	require(!record || strlen(record) <= size);
	free(text);
}

/* The tables of SMBIOS: a module that covers an address must be one of the table. */
static void fuzz_dmi(const uint8_t *data, size_t size)
{
	static const struct module *module[MAX_MODULES];
	static struct dmi dmi;
	char text[224];
	size_t n;

	dmi_parse(data, size, &dmi);
	require(dmi.modules <= MAX_MODULES && dmi.ranges <= MAX_MODULES);
	n = dmi_modules(&dmi, 0x5285, module);
	require(n <= dmi.modules);
	for (size_t i = 0; i < n; i++) {
		module_text(module[i], text, sizeof(text));
		require(!strchr(text, '\n'));
	}
}

/*
 * Flags and counts of page frames: no hugepage may reach beyond the end of
 * memory.
 */
static void fuzz_pageflags(const uint8_t *data, size_t size)
{
	struct page page, found[8];
	uint64_t pfn = 0;
	int n;

	if (flags_fd < 0) {
		flags_fd = memfd_create("kpageflags", 0);
		count_fd = memfd_create("kpagecount", 0);
		sizes[0] = 16 << PAGE_SHIFT;	/* small, so that the input can say much */
		sizes[1] = 64 << PAGE_SHIFT;
		nr_sizes = 2;
		zones[0] = (struct zone) { .node = 0, .start = 0, .end = 4096 };
		nr_zones = 1;
	}
	if (size < 2)
		return;
	pfn = data[0];
	require(!ftruncate(flags_fd, 0) && !ftruncate(count_fd, 0));
	require(pwrite(flags_fd, data + 1, size - 1, 0) == (ssize_t)size - 1);
	require(pwrite(count_fd, data + size / 2, size - size / 2, 0) >= 0);
	quiet = true;
	if (!page_lookup(pfn, &page)) {
		require(page.head <= page.pfn && page.pfn < page.head + page.pages);
		require(count_poisoned(&page) <= page.pages);
		page_state(&page);
	}
	for (int what = SCAN_FREE; what <= SCAN_POISONED_FREE; what++) {
		n = scan_hugepages(what, sizes[1], ANY_NODE, found, 8);
		require(n <= 8);
		for (int i = 0; i < n; i++)
			require(found[i].poisoned == (what != SCAN_FREE));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(const uint8_t *data, size_t size) = {
		fuzz_arguments, fuzz_numbers, fuzz_lines, fuzz_pageflags, fuzz_dmi,
	};

	if (size)
		parsers[data[0] % 5](data + 1, size - 1);
	return 0;
}
