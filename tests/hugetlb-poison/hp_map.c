// SPDX-License-Identifier: GPL-2.0-only
/* The user's side of the tests: mappings, processes that map, SIGBUS. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <hugetlbfs.h>
#include <numa.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hp.h"

#define HUGE_SHIFT	26	/* MAP_HUGE_SHIFT and its kin */

static unsigned int huge_flag(unsigned long size)
{
	return (unsigned int)__builtin_ctzl(size) << HUGE_SHIFT;
}

static size_t map_len(const struct hp_map *map)
{
	return map->size * map->nr;
}

/* --- one mapping ------------------------------------------------------- */

static int map_fd(struct hp_map *map)
{
	map->addr = mmap(NULL, map_len(map), PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, 0);
	return map->addr == MAP_FAILED ? -errno : 0;
}

/*
 * Anonymous memory has no name by which another mapping of it could be made
 * later. Root may open it through the mapping itself.
 */
static int map_anon(struct hp_map *map)
{
	char path[96];

	map->addr = mmap(NULL, map_len(map), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | huge_flag(map->size), -1, 0);
	if (map->addr == MAP_FAILED)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)map->addr, (unsigned long)map->addr + map_len(map));
	map->fd = open(path, O_RDWR | O_CLOEXEC);
	return map->fd < 0 ? -errno : 0;
}

static int map_file(struct hp_map *map)
{
	map->fd = hugetlbfs_unlinked_fd_for_size(map->size);
	if (map->fd < 0) {
		printf("# no hugetlbfs for %lu kB: hugeadm --create-mounts\n", map->size >> 10);
		return -ENODEV;
	}
	return map_fd(map);
}

static int map_memfd(struct hp_map *map)
{
	map->fd = memfd_create("hugetlb-poison", MFD_HUGETLB | huge_flag(map->size));
	if (map->fd < 0 || ftruncate(map->fd, map_len(map)))
		return -errno;
	return map_fd(map);
}

static int attach(struct hp_map *map)
{
	map->addr = shmat(map->shmid, NULL, 0);
	return map->addr == MAP_FAILED ? -errno : 0;
}

/* Marked for removal at once: it stays until the last process detaches. */
static int map_shm(struct hp_map *map)
{
	int ret;

	map->shmid = shmget(IPC_PRIVATE, map_len(map),
			    SHM_HUGETLB | huge_flag(map->size) | IPC_CREAT | 0600);
	if (map->shmid < 0)
		return -errno;
	ret = attach(map);
	shmctl(map->shmid, IPC_RMID, NULL);
	return ret;
}

/* The library's allocator takes hugepages of the default size only. */
static int map_private(struct hp_map *map)
{
	if (map->size == (unsigned long)gethugepagesize()) {
		map->addr = get_huge_pages(map_len(map), GHP_DEFAULT);
		return map->addr ? 0 : -ENOMEM;
	}
	map->addr = mmap(NULL, map_len(map), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | huge_flag(map->size), -1, 0);
	return map->addr == MAP_FAILED ? -errno : 0;
}

/* Returns 0 or -errno. The hugepages are not touched yet. */
int hp_map(struct hp_map *map, enum hp_backing backing, unsigned long size, unsigned long nr)
{
	*map = (struct hp_map) {
		.backing = backing, .size = size, .nr = nr, .fd = -1, .shmid = -1,
	};

	switch (backing) {
	case HP_ANON:
		return map_anon(map);
	case HP_FILE:
		return map_file(map);
	case HP_SHM:
		return map_shm(map);
	case HP_MEMFD:
		return map_memfd(map);
	case HP_PRIVATE:
		return map_private(map);
	}
	return -EINVAL;
}

/* Map the same object a second time, elsewhere. Nothing private can be. */
int hp_map_again(const struct hp_map *map, struct hp_map *again)
{
	*again = *map;
	again->addr = NULL;
	switch (map->backing) {
	case HP_SHM:
		return attach(again);
	case HP_PRIVATE:
		return -EINVAL;
	default:
		return map_fd(again);
	}
}

void hp_unmap(struct hp_map *map)
{
	if (!map->addr || map->addr == MAP_FAILED)
		return;
	if (map->backing == HP_SHM)
		shmdt(map->addr);
	else
		munmap(map->addr, map_len(map));
	map->addr = NULL;
}

/* The mapping and what is behind it. */
void hp_map_free(struct hp_map *map)
{
	hp_unmap(map);
	if (map->fd > 0)
		close(map->fd);
	map->fd = -1;
}

/* --- placement --------------------------------------------------------- */

/* Hugepages first touched from now on are of this node, if it has enough. */
void hp_place_on(unsigned long size, int node, unsigned long nr)
{
	struct hp_state now;

	hp_read_state(&now);
	if (*hp_at(&now, HP_FREE, size, node) >= (long)nr)
		numa_set_preferred(node);
}

void hp_place_anywhere(void)
{
	numa_set_localalloc();
}

/* The middle one is neither first nor last of its 2 MiB in a 1 GiB hugepage. */
unsigned long hp_subpage(unsigned long size, enum hp_place place)
{
	unsigned long nr = size / HP_BASE;

	switch (place) {
	case HP_HEAD:
		return 0;
	case HP_MIDDLE:
		return nr / 2 + 5;
	case HP_TAIL:
		return nr - 1;
	}
	return 0;
}

/* --- SIGBUS ------------------------------------------------------------ */

#define MAX_ASYNC	16

static __thread sigjmp_buf touch_env;
static __thread bool touching;
static __thread struct hp_sigbus touched;

static struct hp_sigbus async[MAX_ASYNC];
static int nr_async;

/*
 * A signal that an access raised ends the access. One that tells of an error
 * elsewhere is noted. A third kind, raised by an access nobody expected to
 * fail, would only be raised again.
 */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	struct hp_sigbus bus = {
		.code = info->si_code,
		.lsb = info->si_addr_lsb,
		.addr = info->si_addr,
		.tid = gettid(),
	};
	int slot;

	(void)sig;
	(void)context;
	if (bus.code == BUS_MCEERR_AO) {
		slot = __atomic_fetch_add(&nr_async, 1, __ATOMIC_SEQ_CST);
		if (slot < MAX_ASYNC)
			async[slot] = bus;
		return;
	}
	if (!__atomic_load_n(&touching, __ATOMIC_SEQ_CST)) {
		dprintf(STDOUT_FILENO, "# SIGBUS at %p, code %d, where none was expected\n",
			bus.addr, bus.code);
		_exit(EXIT_FAILURE);
	}
	touched = bus;
	siglongjmp(touch_env, 1);
}

void hp_catch_sigbus(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};

	sigaction(SIGBUS, &action, NULL);
}

/* Returns the signal that an access to one byte raised, code 0 when none did. */
struct hp_sigbus hp_touch(char *addr, enum hp_access access)
{
	touched = (struct hp_sigbus) { .code = 0 };
	if (!sigsetjmp(touch_env, 1)) {
		__atomic_store_n(&touching, true, __ATOMIC_SEQ_CST);
		if (access == HP_READ)
			__atomic_load_n(addr, __ATOMIC_RELAXED);
		else
			__atomic_store_n(addr, 0x5a, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&touching, false, __ATOMIC_SEQ_CST);
	return touched;
}

/* --- contents ---------------------------------------------------------- */

#define IN_BLOCK	(HP_2M / HP_BASE)	/* raw pages of a 2 MiB block */

/*
 * Which raw pages are stamped: all of a 2 MiB hugepage. Of a 1 GiB one the
 * first of each 2 MiB block, and all of the blocks that hp_subpage() is in.
 */
static unsigned long next_stamp(unsigned long page, unsigned long size)
{
	unsigned long nr = size / HP_BASE / IN_BLOCK;
	unsigned long block = page / IN_BLOCK;

	if (block == 0 || block == nr / 2 || block == nr - 1)
		return page + 1;
	return (block + 1) * IN_BLOCK;
}

static unsigned long stamp_of(unsigned long page, unsigned int seed)
{
	return (page + 1) * 0x9e3779b97f4a7c15ULL ^ seed;
}

#define STAMPS_IN_PAGE	(HP_BASE / sizeof(unsigned long))

/* Both ends of a raw page. Return how many stamps are not as they should be. */
static long stamp_page(unsigned long *page, unsigned long stamp)
{
	page[0] = stamp;
	page[STAMPS_IN_PAGE - 1] = stamp;
	return 0;
}

static long check_page(unsigned long *page, unsigned long stamp)
{
	return (page[0] != stamp) + (page[STAMPS_IN_PAGE - 1] != stamp);
}

/*
 * Does something to each of the stamped raw pages; one that raises SIGBUS is
 * lost. Returns how many were, and adds up what the others returned.
 */
static long visit(char *hugepage, unsigned long size, unsigned int seed,
		  long (*what)(unsigned long *page, unsigned long stamp), long *sum)
{
	/* not on the stack, where a jump back may find an old value */
	static __thread unsigned long i;
	static __thread long lost;

	i = 0;
	lost = 0;
	*sum = 0;
	if (sigsetjmp(touch_env, 1)) {
		lost++;
		i = next_stamp(i, size);
	}
	__atomic_store_n(&touching, true, __ATOMIC_SEQ_CST);
	for (; i < size / HP_BASE; i = next_stamp(i, size))
		*sum += what((unsigned long *)(hugepage + i * HP_BASE), stamp_of(i, seed));
	__atomic_store_n(&touching, false, __ATOMIC_SEQ_CST);
	return lost;
}

/* Contents to be known again. Returns how many raw pages could not be written. */
long hp_stamp(char *hugepage, unsigned long size, unsigned int seed)
{
	long sum;

	return visit(hugepage, size, seed, stamp_page, &sum);
}

/* How many raw pages cannot be read, and how many stamps in others are wrong. */
long hp_lost(const char *hugepage, unsigned long size, unsigned int seed, long *damage)
{
	return visit((char *)hugepage, size, seed, check_page, damage);
}

/* How many of the stamps are not as they were. */
long hp_damage(const char *hugepage, unsigned long size, unsigned int seed)
{
	long damage, lost = hp_lost(hugepage, size, seed, &damage);

	return damage + 2 * lost;
}

/* --- signals of errors elsewhere ----------------------------------------- */

/* Lets the kernel access one byte. Returns 0 or -errno. */
int hp_syscall_touch(const char *addr, enum hp_access access)
{
	char byte = 0x5a;
	int fds[2], ret = 0;
	ssize_t n;

	if (pipe(fds))
		return -errno;
	if (access == HP_READ)
		n = write(fds[1], addr, 1);
	else if (write(fds[1], &byte, 1) == 1)
		n = read(fds[0], (char *)addr, 1);
	else
		n = -1;
	if (n != 1)
		ret = -errno;
	close(fds[0]);
	close(fds[1]);
	return ret;
}

/*
 * How many action-optional signals this process got, and one of them.
 */
int hp_async_signals(unsigned int which, struct hp_sigbus *bus)
{
	int nr = __atomic_load_n(&nr_async, __ATOMIC_SEQ_CST);

	*bus = which < MAX_ASYNC ? async[which] : (struct hp_sigbus) { .code = 0 };
	return nr;
}

static sem_t early_ready;
static pid_t early_tid;

static void *early_thread(void *unused)
{
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	early_tid = gettid();
	sem_post(&early_ready);
	for (;;)
		pause();
	return unused;
}

/*
 * Ask for early kill, in a separate thread, as a process with other work does:
 * the signal must come to this thread. Returns its id.
 */
pid_t hp_kill_early(void)
{
	pthread_t thread;

	hp_kill_late();
	sem_init(&early_ready, 0, 0);
	if (pthread_create(&thread, NULL, early_thread, NULL))
		return -1;
	pthread_detach(thread);
	while (sem_wait(&early_ready))
		;
	return early_tid;
}

void hp_kill_late(void)
{
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0);
}

/* --- another process that maps ----------------------------------------- */

static struct hp_answer perform(struct hp_map *map, const struct hp_request *request)
{
	struct hp_answer answer = { .value = 0 };
	char *arg = request->arg;

	switch (request->op) {
	case HP_OP_READ:
	case HP_OP_WRITE:
		answer.bus = hp_touch(arg, request->op == HP_OP_READ ? HP_READ : HP_WRITE);
		break;
	case HP_OP_SYS_READ:
	case HP_OP_SYS_WRITE:
		answer.value = hp_syscall_touch(arg, request->op == HP_OP_SYS_READ ?
						     HP_READ : HP_WRITE);
		break;
	case HP_OP_STAMP:
		answer.value = hp_stamp(arg, map->size, request->seed);
		break;
	case HP_OP_DAMAGE:
		answer.value = hp_damage(arg, map->size, request->seed);
		break;
	case HP_OP_LOST:
		answer.value = hp_lost(arg, map->size, request->seed, &answer.damage);
		break;
	case HP_OP_PFN:
		answer.value = (long)hp_pfn(arg);
		break;
	case HP_OP_ADDR:
		answer.value = (long)map->addr;
		break;
	case HP_OP_KILL_EARLY:
		answer.value = hp_kill_early();
		break;
	case HP_OP_KILL_LATE:
		hp_kill_late();
		break;
	case HP_OP_SIGNALS:
		answer.value = hp_async_signals(request->seed, &answer.bus);
		break;
	case HP_OP_UNMAP:
		hp_map_free(map);
		break;
	}
	return answer;
}

/* Never returns: requests are served until the other end is closed. */
static void serve(int sock, struct hp_map *map, bool map_anew)
{
	struct hp_answer answer = { .value = 0 };
	struct hp_request request;
	struct hp_map mine = *map;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	nr_async = 0;
	if (map_anew) {
		answer.value = hp_map_again(map, &mine);
		hp_unmap(map);
	}
	do {
		if (send(sock, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			break;
		if (recv(sock, &request, sizeof(request), 0) != sizeof(request))
			break;
		answer = perform(&mine, &request);
	} while (1);
	_exit(EXIT_SUCCESS);
}

static struct hp_answer receive(struct hp_mapper *mapper)
{
	struct hp_answer answer;

	if (recv(mapper->sock, &answer, sizeof(answer), 0) != sizeof(answer))
		return (struct hp_answer) { .value = -ESRCH, .bus.code = -ESRCH };
	return answer;
}

/*
 * Fork a process that maps the same object: through what it inherited, or
 * anew, at an address of its own. Returns 0 or -errno.
 */
int hp_mapper_start(struct hp_mapper *mapper, struct hp_map *map, bool map_anew)
{
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks))
		return -errno;
	fflush(stdout);
	mapper->map = NULL;
	mapper->pid = fork();
	if (!mapper->pid) {
		close(socks[0]);
		serve(socks[1], map, map_anew);
	}
	close(socks[1]);
	mapper->sock = socks[0];
	return receive(mapper).value;
}

/* This process as one of its mappers. */
void hp_mapper_self(struct hp_mapper *mapper, struct hp_map *map)
{
	*mapper = (struct hp_mapper) { .map = map, .sock = -1 };
}

/* Have a mapper do something. A dead one answers -ESRCH. */
struct hp_answer hp_ask(struct hp_mapper *mapper, enum hp_op op, char *arg, unsigned int seed)
{
	struct hp_request request = { .op = op, .arg = arg, .seed = seed };

	if (mapper->map)
		return perform(mapper->map, &request);
	if (send(mapper->sock, &request, sizeof(request), MSG_NOSIGNAL) < 0)
		return (struct hp_answer) { .value = -ESRCH, .bus.code = -ESRCH };
	return receive(mapper);
}

/*
 * Signals come in their own time, but not after a second. Returns how many
 * there were by then, and the @nr-th of them.
 */
struct hp_answer hp_await_signals(struct hp_mapper *mapper, int nr)
{
	struct hp_answer answer;

	hp_await((answer = hp_ask(mapper, HP_OP_SIGNALS, NULL, nr - 1),
		  answer.value >= nr || answer.value < 0), "signal %d", nr);
	return answer;
}

/* Returns its wait status: 0 unless something killed it. */
int hp_mapper_stop(struct hp_mapper *mapper)
{
	int status = 0;

	if (mapper->pid > 0) {
		/* Later mappers have inherited this end: closing ours is not enough. */
		shutdown(mapper->sock, SHUT_RDWR);
		close(mapper->sock);
		waitpid(mapper->pid, &status, 0);
		mapper->pid = 0;
	}
	return status;
}
