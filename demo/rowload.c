// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clients of rowstore: each asks for a row fifty times a second, changes one now and
 * then, and checks what it gets. A client that gets no answer connects again.
 *
 * Half of all requests go to the few hot rows, the rest to any other row, except the
 * COLD ones, for which nobody asks.
 *
 * The report goes to standard output: when no client got an answer, then for each
 * tenth of a second how many clients did and did not, and how many answers were
 * wrong.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>

#include "row.h"

#define CLIENTS_MOST	64
#define ROWS_MOST	(1UL << 20)
#define PERIOD		0.02		/* seconds from request to request of a client */
#define PAUSE		0.1		/* ... that got no answer */
#define STEP		0.1		/* seconds of a line */
#define STEPS_MOST	3000
#define GAP		0.25		/* seconds: longer without an answer is down */

/* Four rows are a page, 2048 a hugepage; every eighth hugepage has a hot row. */
#define HOT_EVERY	16384
#define HOT_FIRST	16
#define COLD(id)	((id) / 4 % 16 == 7)

static struct sockaddr_un where;
static unsigned long nr_rows, clients;
static double begin, end;

/* Of all clients. */
static unsigned long answered[STEPS_MOST], failed[STEPS_MOST], wrong;
static pthread_mutex_t answer_lock = PTHREAD_MUTEX_INITIALIZER;
static double last_answer;

/*
 * The newest version of each row for which the changing client has an answer.
 */
static unsigned long *versions;

static void count(unsigned long *steps, double at)
{
	unsigned long step = (at - begin) / STEP;

	if (step < STEPS_MOST)
		__atomic_fetch_add(&steps[step], 1, __ATOMIC_RELAXED);
}

/* The service is down while no client gets an answer. */
static void count_answer(void)
{
	double at = now();

	count(answered, at);
	pthread_mutex_lock(&answer_lock);
	if (at - last_answer > GAP)
		printf("down %.3f %.3f\n", last_answer - begin, at - begin);
	last_answer = at > last_answer ? at : last_answer;
	pthread_mutex_unlock(&answer_lock);
}

static int connect_again(int fd)
{
	if (fd >= 0)
		close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	if (!connect(fd, (struct sockaddr *)&where, sizeof(where)))
		return fd;
	close(fd);
	return -1;
}

static unsigned long choose_row(unsigned int *seed)
{
	unsigned long id;

	if (rand_r(seed) % 2)
		return rand_r(seed) % (nr_rows / HOT_EVERY) * HOT_EVERY + HOT_FIRST;
	do
		id = rand_r(seed) % nr_rows;
	while (COLD(id));
	return id;
}

/* A client changes its own rows only, so it knows their contents. */
static bool is_mine(unsigned long id, unsigned long me)
{
	return (id ^ id >> 8) % clients == me;
}

static bool is_right(const struct row *row, unsigned long id, unsigned long me)
{
	if (row->id != id || row->sum != row_sum(row))
		return false;
	return !is_mine(id, me) || row->version >= versions[id];
}

/* One request; false when there was no answer. */
static bool ask(int fd, unsigned int *seed, unsigned long me)
{
	struct request request = { .op = ROW_GET };
	unsigned long id = choose_row(seed);
	size_t len = GET_SIZE;
	struct row row;

	request.row.id = id;
	if (is_mine(id, me) && rand_r(seed) % 2) {
		request.op = ROW_PUT;
		row_make(&request.row, id, versions[id] + 1);
		len = sizeof(request);
	}
	if (!write_all(fd, &request, len) || !read_all(fd, &row, sizeof(row)))
		return false;
	if (!is_right(&row, id, me))
		__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	if (is_mine(id, me))
		versions[id] = row.version;
	return true;
}

/* Catch up late requests, but not those of a downtime. */
static double wait_for_next(double last)
{
	double at = now(), next = last + PERIOD;

	if (next < at - GAP)
		next = at;
	if (next > at)
		usleep((next - at) * 1e6);
	return next;
}

static void *client(void *arg)
{
	unsigned long me = (unsigned long)arg;
	unsigned int seed = me + 1;
	int fd = connect_again(-1);
	double at = now();

	while (now() < end) {
		if (fd >= 0 && ask(fd, &seed, me)) {
			count_answer();
			at = wait_for_next(at);
			continue;
		}
		count(failed, now());
		usleep(PAUSE * 1e6);
		fd = connect_again(fd);
	}
	return NULL;
}

static void tell(void)
{
	unsigned long steps = (end - begin) / STEP;

	for (unsigned long i = 0; i < steps && i < STEPS_MOST; i++)
		printf("step %.1f %lu %lu\n", i * STEP, answered[i], failed[i]);
	printf("wrong %lu\n", wrong);
}

int main(int argc, char **argv)
{
	pthread_t thread[CLIENTS_MOST];

	if (argc != 5) {
		fprintf(stderr, "usage: rowload SOCKET ROWS CLIENTS SECONDS\n");
		return 2;
	}
	name_socket(&where, argv[1]);
	nr_rows = parse_number("ROWS", argv[2], ROWS_MOST);
	clients = parse_number("CLIENTS", argv[3], CLIENTS_MOST);
	versions = calloc(nr_rows, sizeof(*versions));
	if (!versions)
		die("memory");
	signal(SIGPIPE, SIG_IGN);
	begin = now();
	last_answer = begin;
	end = begin + parse_number("SECONDS", argv[4], STEPS_MOST * STEP);
	printf("begin %f\n", begin);
	fflush(stdout);
	for (unsigned long i = 0; i < clients; i++)
		if (pthread_create(&thread[i], NULL, client, (void *)i))
			die("pthread_create");
	for (unsigned long i = 0; i < clients; i++)
		pthread_join(thread[i], NULL);
	tell();
	return 0;
}
