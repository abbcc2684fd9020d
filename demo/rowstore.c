// SPDX-License-Identifier: GPL-2.0-only
/*
 * A small database: rows of 1 KiB in a shared memory of hugepages, a log on disk.
 *
 * Like most programs it knows nothing of memory errors, unless --refill is said. Like
 * many databases it has a process for each client, which copies rows from and to the
 * shared memory, and writes each change into the log before. When a worker dies, the
 * memory may be in any state: then the first process ends the other workers and itself.
 * Its supervisor (systemd, say) starts it again, and it reads all rows from the log.
 *
 * With --refill the first process reads the rows of a lost page from the log again.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "refill.h"
#include "row.h"

#define HUGEPAGE	(2UL << 20)
#define ROWS_MOST	(1UL << 20)
#define WORKERS_MOST	64
#define LOCKS		256
#define BATCH		256		/* rows of a read of the log */
#define PAGE		4096UL

static struct row *rows;		/* the shared memory */
static unsigned long nr_rows;
static pthread_mutex_t *locks;
static const char *log_path;
static int log_fd;
static off_t *log_at;			/* where the log has a row's newest version; shared */

/* --- rows --------------------------------------------------------------------- */

static bool is_row(const struct row *row)
{
	return row->id < nr_rows && row->sum == row_sum(row);
}

static void lock_row(unsigned long id)
{
	pthread_mutex_lock(&locks[id % LOCKS]);
}

static void unlock_row(unsigned long id)
{
	pthread_mutex_unlock(&locks[id % LOCKS]);
}

static void get_row(unsigned long id, struct row *to)
{
	lock_row(id);
	*to = rows[id];
	unlock_row(id);
}

/*
 * The log first: an answered change is on the disk. Then where it is there, and the row last:
 * if an error hits the row in the midst, make_page() finds what is being written.
 */
static void put_row(const struct row *row)
{
	lock_row(row->id);
	if (!write_all(log_fd, row, sizeof(*row)))
		die("the log");
	__atomic_store_n(&log_at[row->id], lseek(log_fd, 0, SEEK_CUR) - (off_t)sizeof(*row),
			 __ATOMIC_RELEASE);
	rows[row->id] = *row;
	unlock_row(row->id);
}

static bool read_row(unsigned long id, struct row *to)
{
	off_t at = __atomic_load_n(&log_at[id], __ATOMIC_ACQUIRE);

	return pread(log_fd, to, sizeof(*to), at) == (ssize_t)sizeof(*to) && is_row(to) &&
	       to->id == id;
}

/*
 * A page of rows, from the log. Without a lock: a worker that has one may be waiting for this
 * page. A change that comes meanwhile waits for the page as well, and is written after it.
 */
static bool make_page(void *page, const void *address)
{
	unsigned long first = (const struct row *)address - rows;
	struct row *to = page;

	memset(page, 0, PAGE);
	for (unsigned long i = 0; i < PAGE / sizeof(*to) && first + i < nr_rows; i++)
		if (!read_row(first + i, &to[i]))
			return false;
	return true;
}

/* Each process has the log open itself, for a position of its own. */
static void open_log(void)
{
	log_fd = open(log_path, O_RDWR | O_APPEND | O_CLOEXEC);
	if (log_fd < 0)
		die(log_path);
}

/* Rows are in the log in the order of their changes: the last one is valid. */
static void load_rows(void)
{
	static struct row batch[BATCH];
	double begin = now();
	off_t at = 0;
	ssize_t len;

	while ((len = read(log_fd, batch, sizeof(batch))) > 0) {
		for (ssize_t i = 0; i < len / (ssize_t)sizeof(*batch); i++) {
			if (!is_row(&batch[i])) {
				fprintf(stderr, "rowstore: the log has a bad row\n");
				exit(EXIT_FAILURE);
			}
			rows[batch[i].id] = batch[i];
			log_at[batch[i].id] = at + i * (off_t)sizeof(*batch);
		}
		at += len;
	}
	if (len < 0)
		die("the log");
	printf("loaded %lu rows in %.2f s\n", nr_rows, now() - begin);
	fflush(stdout);
}

static size_t memory_size(void)
{
	return (nr_rows * sizeof(*rows) + HUGEPAGE - 1) / HUGEPAGE * HUGEPAGE;
}

static void *share(size_t len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void make_memory(void)
{
	size_t len = memory_size();
	pthread_mutexattr_t attr;

	rows = mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (rows == MAP_FAILED) {
		fprintf(stderr, "rowstore: %lu free 2M hugepages are needed: %s\n",
			len / HUGEPAGE, strerror(errno));
		exit(EXIT_FAILURE);
	}
	log_at = share(nr_rows * sizeof(*log_at));
	locks = share(LOCKS * sizeof(*locks));
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	for (int i = 0; i < LOCKS; i++)
		pthread_mutex_init(&locks[i], &attr);
}

static void create_log(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct row row;

	if (fd < 0)
		die(path);
	for (unsigned long id = 0; id < nr_rows; id++) {
		row_make(&row, id, 1);
		if (!write_all(fd, &row, sizeof(row)))
			die(path);
	}
	close(fd);
}

/* --- the service -------------------------------------------------------------- */

static bool answer(int client)
{
	struct request request;
	struct row row;

	if (!read_all(client, &request, GET_SIZE) || request.row.id >= nr_rows)
		return false;
	if (request.op == ROW_GET) {
		get_row(request.row.id, &row);
		return write_all(client, &row, sizeof(row));
	}
	if (!read_all(client, (char *)&request + GET_SIZE, sizeof(request) - GET_SIZE) ||
	    !is_row(&request.row))
		return false;
	put_row(&request.row);
	return write_all(client, &request.row, sizeof(request.row));
}

static void work(int door, bool refill)
{
	int client;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_log();
	if (refill)
		refill_await();
	for (;;) {
		client = accept4(door, NULL, NULL, SOCK_CLOEXEC);
		while (client >= 0 && answer(client))
			;
		close(client);
	}
}

static int open_door(const char *path)
{
	struct sockaddr_un addr;
	int door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	name_socket(&addr, path);
	unlink(path);
	if (door < 0 || bind(door, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(door, WORKERS_MOST))
		die(path);
	return door;
}

/* Waits until a worker dies; then ends all processes. */
static void serve(const char *path, unsigned long workers, bool refill)
{
	pid_t pid[WORKERS_MOST], dead;
	int status, door = open_door(path);

	if (refill)
		refill_prepare();
	for (unsigned long i = 0; i < workers; i++) {
		pid[i] = fork();
		if (!pid[i])
			work(door, refill);
		if (pid[i] < 0)
			die("fork");
	}
	if (refill)
		refill_begin(rows, memory_size(), make_page);
	printf("serving\n");
	fflush(stdout);
	dead = wait(&status);
	for (unsigned long i = 0; i < workers; i++)
		if (pid[i] != dead)
			kill(pid[i], SIGTERM);
	do {
		if (WIFSIGNALED(status))
			printf("worker killed by signal %d\n", WTERMSIG(status));
	} while (wait(&status) > 0);
	exit(EXIT_FAILURE);
}

static void say_usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: rowstore create LOG ROWS\n"
		"       rowstore serve LOG ROWS SOCKET WORKERS [--refill]\n"
		"A small database: rows of %zu bytes in shared hugepages, changes in a log.\n"
		"  --refill  after a memory error read the lost rows from the log again\n",
		sizeof(struct row));
	exit(status);
}

int main(int argc, char **argv)
{
	bool refill = argc == 7 && !strcmp(argv[6], "--refill");

	if (argc > 1 && !strcmp(argv[1], "--help"))
		say_usage(0);
	if (argc < 4)
		say_usage(2);
	nr_rows = parse_number("ROWS", argv[3], ROWS_MOST);
	if (!strcmp(argv[1], "create") && argc == 4) {
		create_log(argv[2]);
		return 0;
	}
	if (strcmp(argv[1], "serve") || argc != 6 + refill)
		say_usage(2);
	log_path = argv[2];
	open_log();
	make_memory();
	load_rows();
	serve(argv[4], parse_number("WORKERS", argv[5], WORKERS_MOST), refill);
}
