// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only program of the nested virtual machine that proofs/vm-guest runs: its
 * first process, and all of its user space. It fills most of the machine's memory
 * with a pattern and reads commands from the second console, a command and an
 * answer of one line each:
 *
 *   blocks             the 2 MiB of guest physical memory that are all its own
 *   read GPA           reads the page there: good, wrong, or bus CODE LSB
 *   write GPA          reads it, writes it anew and reads that
 *   sweep [GPA BYTES]  the same to every page there: good N wrong N bus N
 *   word GPA           what that page says first
 *   victim GPA         a child without a handler reads it: how it ended
 *   release GPA BYTES  gives the pages there back to the kernel
 *   churn MIB          gets that much new memory from the kernel and writes to it
 *   state              what the kernel says it lost, and how long it is up
 *
 * GPA is a guest physical address.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PAGE		4096UL
#define BLOCK		(2UL << 20)
#define FRAME_MASK	((1UL << 55) - 1)
#define PRESENT		(1UL << 63)

static char *memory;			/* the program's own */
static unsigned long pages;
static unsigned long *where;		/* each page's guest physical address, 0: none */
static unsigned int *generation;	/* how often each page has been written */

enum outcome { GOOD, WRONG, BUS };

static sigjmp_buf back;
static siginfo_t caught;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	caught = *info;
	siglongjmp(back, 1);
}

/* The word in page i: another one in each page and after each write. */
static unsigned long pattern(unsigned long i)
{
	return (i << 20 | generation[i]) * 0x9e3779b97f4a7c15UL;
}

static unsigned long load(unsigned long *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(unsigned long *word, unsigned long value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static unsigned long *page_at(unsigned long i)
{
	return (unsigned long *)(memory + i * PAGE);
}

static void write_page(unsigned long i)
{
	unsigned long *word = page_at(i);
	unsigned long value;

	generation[i]++;
	value = pattern(i);
	for (unsigned long n = 0; n < PAGE / sizeof(*word); n++)
		store(word + n, value ^ n);
}

static bool check_page(unsigned long i)
{
	unsigned long *word = page_at(i);
	unsigned long value = pattern(i);

	for (unsigned long n = 0; n < PAGE / sizeof(*word); n++)
		if (load(word + n) != (value ^ n))
			return false;
	return true;
}

/* pagemap says where each page is. */
static void locate(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	off_t at = (unsigned long)memory / PAGE * sizeof(*where);

	for (unsigned long i = 0; i < pages; i++) {
		unsigned long entry = 0;

		if (pread(fd, &entry, sizeof(entry), at + i * sizeof(entry)) != sizeof(entry))
			entry = 0;
		where[i] = entry & PRESENT ? (entry & FRAME_MASK) * PAGE : 0;
	}
	close(fd);
}

static void fill(unsigned long mib)
{
	pages = mib * 256;
	where = calloc(pages, sizeof(*where));
	generation = calloc(pages, sizeof(*generation));
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!where || !generation || memory == MAP_FAILED) {
		puts("no memory");
		exit(1);
	}
	madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < pages; i++)
		write_page(i);
	locate();
}

static bool within(unsigned long i, unsigned long gpa, unsigned long bytes)
{
	return where[i] && where[i] >= gpa && where[i] - gpa < bytes;
}

static void say_blocks(void)
{
	static unsigned short have[65536];
	unsigned long nr = sizeof(have) / sizeof(*have);

	memset(have, 0, sizeof(have));
	for (unsigned long i = 0; i < pages; i++)
		if (where[i] && where[i] / BLOCK < nr)
			have[where[i] / BLOCK]++;
	printf("blocks");
	for (unsigned long n = 0; n < nr; n++)
		if (have[n] == BLOCK / PAGE)
			printf(" %#lx", n * BLOCK);
	puts("");
}

/* One visit to a page: checks its word, before and after a new write. */
static enum outcome visit(unsigned long i, bool write)
{
	if (sigsetjmp(back, 1))
		return BUS;
	if (!check_page(i))
		return WRONG;
	if (!write)
		return GOOD;
	write_page(i);
	return check_page(i) ? GOOD : WRONG;
}

static void touch(unsigned long gpa, bool write)
{
	for (unsigned long i = 0; i < pages; i++) {
		if (!within(i, gpa, PAGE))
			continue;
		switch (visit(i, write)) {
		case GOOD:
			puts("good");
			return;
		case WRONG:
			puts("wrong");
			return;
		case BUS:
			printf("bus %d %d\n", caught.si_code, (int)caught.si_addr_lsb);
			return;
		}
	}
	puts("not mine");
}

static void say_word(unsigned long gpa)
{
	for (unsigned long i = 0; i < pages; i++)
		if (within(i, gpa, PAGE))
			printf("word %lu\n", load(page_at(i)));
}

/* All pages of a range: how many are as they should be, and take a write. */
static void sweep(unsigned long gpa, unsigned long bytes)
{
	unsigned long nr[3] = { 0 };

	for (unsigned long i = 0; i < pages; i++)
		if (within(i, gpa, bytes))
			nr[visit(i, true)]++;
	printf("good %lu wrong %lu bus %lu\n", nr[GOOD], nr[WRONG], nr[BUS]);
}

/* The end of a program that knows nothing of memory errors. */
static void victim(unsigned long gpa)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		for (unsigned long i = 0; i < pages; i++)
			if (within(i, gpa, PAGE))
				_exit(check_page(i) ? 0 : 1);
		_exit(2);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("killed by signal %d\n", WTERMSIG(status));
	else
		printf("exit status %d\n", WEXITSTATUS(status));
}

static void release(unsigned long gpa, unsigned long bytes)
{
	unsigned long nr = 0;

	for (unsigned long i = 0; i < pages; i++) {
		if (!within(i, gpa, bytes))
			continue;
		nr += !madvise(memory + i * PAGE, PAGE, MADV_DONTNEED);
		where[i] = 0;
	}
	printf("released %lu\n", nr);
}

/* The kernel zeroes each page that it hands out. */
static void churn(unsigned long mib)
{
	char *fresh = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long good = 0;

	if (fresh == MAP_FAILED) {
		puts("no memory");
		return;
	}
	for (char *at = fresh; at < fresh + (mib << 20); at += PAGE) {
		store((unsigned long *)at, good);
		good += load((unsigned long *)at) == good;
	}
	munmap(fresh, mib << 20);
	printf("churned %lu\n", good);
}

static long number_after(const char *path, const char *word)
{
	char text[8192];
	char *found;
	ssize_t len;
	int fd = open(path, O_RDONLY);

	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len > 0 ? len : 0] = 0;
	found = strstr(text, word);
	return found ? atol(found + strlen(word)) : -1;
}

static void state(void)
{
	printf("corrupted %ld total %ld uptime %ld\n",
	       number_after("/proc/meminfo", "HardwareCorrupted:"),
	       number_after("/proc/meminfo", "MemTotal:"),
	       number_after("/proc/uptime", ""));
}

static void obey(char *line)
{
	static const char space[] = { ' ', '\n', 0 };
	char *word = strtok(line, space);
	char *first = strtok(NULL, space), *second = strtok(NULL, space);
	unsigned long a = first ? strtoul(first, NULL, 0) : 0;
	unsigned long b = second ? strtoul(second, NULL, 0) : -1UL;

	if (!word)
		puts("what?");
	else if (!strcmp(word, "blocks"))
		say_blocks();
	else if (!strcmp(word, "read") || !strcmp(word, "write"))
		touch(a, *word == 'w');
	else if (!strcmp(word, "sweep"))
		sweep(a, b);
	else if (!strcmp(word, "word"))
		say_word(a);
	else if (!strcmp(word, "victim"))
		victim(a);
	else if (!strcmp(word, "release"))
		release(a, b);
	else if (!strcmp(word, "churn"))
		churn(a);
	else if (!strcmp(word, "state"))
		state();
	else
		printf("%s: what?\n", word);
}

static void serve(unsigned long mib)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	char line[256];

	sigaction(SIGBUS, &action, NULL);
	fill(mib);
	puts("ready");
	while (fgets(line, sizeof(line), stdin))
		obey(line);
}

/*
 * A deferred error raises no exception: the kernel looks for them, every five minutes.
 * A processor without machine checks has none to look for.
 */
static void look_for_errors_each_second(void)
{
	int fd;

	mount("sysfs", "/sys", "sysfs", 0, NULL);
	fd = open("/sys/devices/system/machinecheck/machinecheck0/check_interval", O_WRONLY);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) != 1)
		puts("check_interval cannot be set");
	close(fd);
}

static void use_console(const char *path)
{
	struct termios mode;
	int fd = open(path, O_RDWR | O_NOCTTY);

	if (fd < 0 || tcgetattr(fd, &mode))
		_exit(2);
	cfmakeraw(&mode);
	tcsetattr(fd, TCSANOW, &mode);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* init=/init -- MIB */
int main(int argc, char **argv)
{
	int status = 0;
	pid_t pid;

	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	use_console("/dev/hvc1");
	look_for_errors_each_second();
	pid = fork();
	if (!pid) {
		serve(argc > 1 ? strtoul(argv[1], NULL, 0) : 16);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) != pid)
		;
	printf("ended %d\n", status);
	pause();
	return 0;
}
