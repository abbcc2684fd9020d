// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations of a round, in memory that survives a dead guest: in memory that
 * the host shares with the guest (a PCI device of QEMU, ivshmem). A store there
 * has reached the host's file. Without such a device it is ordinary memory.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

#define MAGIC	0x6d6f6f72687a7566UL
#define RECORDS	(1U << 16)

struct record {
	unsigned long seed;
	unsigned int order;
	int ret;
	unsigned int ms;
	unsigned short op;
	unsigned char lane;
	unsigned char what;		/* 1 begun, 2 ended, +4 by a child */
};

struct trace {
	unsigned long magic, seed;
	unsigned int next, nr_ops;
	unsigned int processes, threads, steps, faults;
	unsigned long since;
	char name[128][16];
	struct record record[RECORDS];
};

static struct trace *trace;

/* The path of the device's memory, or false. */
static bool find_device(char *path, size_t len)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		snprintf(path, len, "/sys/bus/pci/devices/%.32s", entry->d_name);
		found = hp_read_long("%s/vendor", path) == 0x1af4 &&
			hp_read_long("%s/device", path) == 0x1110;
	}
	if (dir)
		closedir(dir);
	return found;
}

static void *map_device(void)
{
	char path[96], file[128];
	void *at;
	int fd;

	if (!find_device(path, sizeof(path)))
		return NULL;
	snprintf(file, sizeof(file), "%s/enable", path);
	hp_write(file, "1");
	snprintf(file, sizeof(file), "%s/resource2", path);
	fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	at = mmap(NULL, sizeof(*trace), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return at == MAP_FAILED ? NULL : at;
}

void trace_open(void)
{
	trace = map_device();
	if (trace)
		return;
	trace = mmap(NULL, sizeof(*trace), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
}

void trace_round(void)
{
	memset(trace, 0, sizeof(*trace));
	trace->seed = fz->seed;
	trace->processes = opt.processes;
	trace->threads = opt.threads;
	trace->steps = opt.steps;
	trace->faults = opt.faults;
	trace->since = now_ms();
	trace->nr_ops = nr_ops;
	for (int i = 0; i < nr_ops; i++)
		snprintf(trace->name[i], sizeof(trace->name[i]), "%s", ops[i].name);
	trace->magic = MAGIC;
}

static void put(int lane, int op, unsigned long seed, int what, unsigned int order, int ret)
{
	unsigned int i = __atomic_fetch_add(&trace->next, 1, __ATOMIC_SEQ_CST) % RECORDS;

	trace->record[i] = (struct record) {
		.seed = seed, .order = order, .ret = ret, .ms = now_ms() - trace->since,
		.op = op, .lane = lane, .what = what,
	};
}

void trace_begin(int lane, int op, unsigned long seed, bool child)
{
	put(lane, op, seed, 1 + 4 * child, fz->order, 0);
}

void trace_end(int lane, int op, unsigned long seed, bool child, long ret)
{
	put(lane, op, seed, 2 + 4 * child, fz->order, ret);
}
