// SPDX-License-Identifier: GPL-2.0-only
/*
 * A small database: rows of 1 KiB in a shared memory of hugepages, a log on disk.
 *
 * Like most programs it knows nothing of memory errors. Like many databases it has
 * a process for each client, which copies rows from and to the shared memory, and
 * writes each change into the log before. When a worker dies, the memory may be in
 * any state: then the first process ends the other workers and itself. Its
 * supervisor (systemd, say) starts it again, and it reads all rows from the log.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "row.h"

#define HUGEPAGE	(2UL << 20)
#define ROWS_MOST	(1UL << 20)
#define WORKERS_MOST	64
#define LOCKS		256
#define BATCH		256		/* rows of a read of the log */

static struct row *rows;		/* the shared memory */
static unsigned long nr_rows;
static pthread_mutex_t *locks;
static int log_fd;

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

/* The log first: an answered change is on the disk. */
static void put_row(const struct row *row)
{
	lock_row(row->id);
	if (!write_all(log_fd, row, sizeof(*row)))
		die("the log");
	rows[row->id] = *row;
	unlock_row(row->id);
}

/* Rows are in the log in the order of their changes: the last one is valid. */
static void load_rows(void)
{
	static struct row batch[BATCH];
	double begin = now();
	ssize_t len;

	while ((len = read(log_fd, batch, sizeof(batch))) > 0) {
		for (ssize_t i = 0; i < len / (ssize_t)sizeof(*batch); i++) {
			if (!is_row(&batch[i])) {
				fprintf(stderr, "rowstore: the log has a bad row\n");
				exit(EXIT_FAILURE);
			}
			rows[batch[i].id] = batch[i];
		}
	}
	if (len < 0)
		die("the log");
	printf("loaded %lu rows in %.2f s\n", nr_rows, now() - begin);
	fflush(stdout);
}

static void make_memory(void)
{
	size_t len = (nr_rows * sizeof(*rows) + HUGEPAGE - 1) / HUGEPAGE * HUGEPAGE;
	pthread_mutexattr_t attr;

	rows = mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (rows == MAP_FAILED) {
		fprintf(stderr, "rowstore: %lu free 2M hugepages are needed: %s\n",
			len / HUGEPAGE, strerror(errno));
		exit(EXIT_FAILURE);
	}
	locks = mmap(NULL, LOCKS * sizeof(*locks), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (locks == MAP_FAILED)
		die("mmap");
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

static void work(int door)
{
	int client;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
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
static void serve(const char *path, unsigned long workers)
{
	pid_t pid[WORKERS_MOST], dead;
	int status, door = open_door(path);

	for (unsigned long i = 0; i < workers; i++) {
		pid[i] = fork();
		if (!pid[i])
			work(door);
		if (pid[i] < 0)
			die("fork");
	}
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
		"       rowstore serve LOG ROWS SOCKET WORKERS\n"
		"A small database: rows of %zu bytes in shared hugepages, changes in a log.\n",
		sizeof(struct row));
	exit(status);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--help"))
		say_usage(0);
	if (argc < 4)
		say_usage(2);
	nr_rows = parse_number("ROWS", argv[3], ROWS_MOST);
	if (!strcmp(argv[1], "create") && argc == 4) {
		create_log(argv[2]);
		return 0;
	}
	if (strcmp(argv[1], "serve") || argc != 6)
		say_usage(2);
	log_fd = open(argv[2], O_RDWR | O_APPEND | O_CLOEXEC);
	if (log_fd < 0)
		die(argv[2]);
	make_memory();
	load_rows();
	serve(argv[4], parse_number("WORKERS", argv[5], WORKERS_MOST));
}
