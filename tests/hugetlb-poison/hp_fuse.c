// SPDX-License-Identifier: GPL-2.0-only
/*
 * A FUSE file that never answers a read, without a library. Any user who may
 * open /dev/fuse and make a user namespace can do this.
 *
 * One process reads the file: the page is locked until the read is answered. An
 * mmap() of the same file, opened for direct I/O, has to drop that page, and
 * waits for its lock with mmap_lock held for writing, past SIGKILL.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hp.h"
#include "hp_fuse.h"

#define PLACE		"/mnt"
#define NAME		PLACE "/stuck"
#define ROOT_NODE	1
#define FILE_NODE	2
#define MAX_WRITE	4096

struct request {
	struct fuse_in_header head;
	char body[FUSE_MIN_READ_BUFFER + MAX_WRITE];
};

union answer {
	struct fuse_init_out init;
	struct fuse_entry_out entry;
	struct fuse_attr_out attr;
	struct fuse_open_out open;
};

static void fill_attr(struct fuse_attr *attr, unsigned long node)
{
	attr->ino = node;
	attr->nlink = 1;
	attr->size = node == FILE_NODE ? HP_BASE : 0;
	attr->mode = node == FILE_NODE ? S_IFREG | 0600 : S_IFDIR | 0700;
}

static size_t answer_init(const struct request *request, union answer *answer)
{
	const struct fuse_init_in *in = (const void *)request->body;

	answer->init.major = FUSE_KERNEL_VERSION;
	answer->init.minor = in->minor < FUSE_KERNEL_MINOR_VERSION ? in->minor :
								      FUSE_KERNEL_MINOR_VERSION;
	answer->init.max_write = MAX_WRITE;
	return sizeof(answer->init);
}

/* Opened for writing it is for direct I/O, for reading it is cached; open() drops nothing. */
static size_t answer_open(const struct request *request, union answer *answer)
{
	const struct fuse_open_in *in = (const void *)request->body;

	answer->open.open_flags = FOPEN_KEEP_CACHE;
	if ((in->flags & O_ACCMODE) == O_RDWR)
		answer->open.open_flags |= FOPEN_DIRECT_IO;
	return sizeof(answer->open);
}

/* Returns the length of the answer, or -errno. */
static long make_answer(const struct request *request, union answer *answer)
{
	switch (request->head.opcode) {
	case FUSE_INIT:
		return answer_init(request, answer);
	case FUSE_LOOKUP:
		answer->entry.nodeid = FILE_NODE;
		answer->entry.entry_valid = 3600;
		answer->entry.attr_valid = 3600;
		fill_attr(&answer->entry.attr, FILE_NODE);
		return sizeof(answer->entry);
	case FUSE_GETATTR:
		answer->attr.attr_valid = 3600;
		fill_attr(&answer->attr.attr, request->head.nodeid);
		return sizeof(answer->attr);
	case FUSE_OPEN:
		return answer_open(request, answer);
	case FUSE_RELEASE:
		return 0;
	}
	return -EOPNOTSUPP;
}

static void send_answer(int dev, const struct request *request, long len, union answer *answer)
{
	struct {
		struct fuse_out_header head;
		union answer body;
	} out = { .head.unique = request->head.unique, .body = *answer };

	out.head.error = len < 0 ? len : 0;
	out.head.len = sizeof(out.head) + (len > 0 ? len : 0);
	if (write(dev, &out, out.head.len) < 0)
		printf("# FUSE request %u: %s\n", request->head.opcode, strerror(errno));
}

/* Tells by @told that somebody reads, which is never answered. */
static void serve(int dev, int told)
{
	struct request request;
	union answer answer;
	long len;

	while (read(dev, &request, sizeof(request)) > 0) {
		memset(&answer, 0, sizeof(answer));
		switch (request.head.opcode) {
		case FUSE_READ:
			if (write(told, "r", 1) != 1)
				return;
			break;
		case FUSE_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			len = make_answer(&request, &answer);
			send_answer(dev, &request, len, &answer);
		}
	}
}

/* Root in a user namespace of its own, where FUSE may be mounted. */
static int enter_namespaces(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int ret;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -errno;
	ret = hp_write("/proc/self/setgroups", "deny");
	if (!ret)
		ret = hp_write("/proc/self/uid_map", "0 %u 1", uid);
	return ret ?: hp_write("/proc/self/gid_map", "0 %u 1", gid);
}

static int mount_it(void)
{
	int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[96];

	if (dev < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", dev);
	if (mount("stuck", PLACE, "fuse", MS_NOSUID | MS_NODEV, options))
		return -errno;
	return dev;
}

static pid_t fork_child(void)
{
	pid_t pid = fork();

	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void read_it(void)
{
	int fd = open(NAME, O_RDONLY | O_CLOEXEC);
	char byte;

	_exit(fd < 0 || read(fd, &byte, 1) < 0);
}

/*
 * For an unprivileged process. It is in a user and a mount namespace of its own
 * from then on. Returns 0 or -errno.
 */
int hp_fuse_start(struct hp_fuse *fuse)
{
	int told[2], dev, ret;
	char byte;

	/* /proc/self belongs to root after a change of identity, until this */
	prctl(PR_SET_DUMPABLE, 1);
	ret = enter_namespaces();
	if (ret || pipe2(told, O_CLOEXEC))
		return ret ?: -errno;
	dev = mount_it();
	if (dev < 0)
		return dev;
	fuse->server = fork_child();
	if (!fuse->server) {
		serve(dev, told[1]);
		_exit(0);
	}
	close(dev);
	close(told[1]);
	fuse->reader = fork_child();
	if (!fuse->reader)
		read_it();
	ret = read(told[0], &byte, 1) == 1 ? 0 : -EIO;
	close(told[0]);
	fuse->fd = open(NAME, O_RDWR | O_CLOEXEC);
	return ret || fuse->fd >= 0 ? ret : -errno;
}

/* Returns when the server has ended: 0, or -errno. */
int hp_fuse_hold_mmap_lock(const struct hp_fuse *fuse)
{
	void *at = mmap(NULL, HP_BASE, PROT_READ, MAP_PRIVATE, fuse->fd, 0);

	return at == MAP_FAILED ? -errno : 0;
}

void hp_fuse_stop(struct hp_fuse *fuse)
{
	kill(fuse->server, SIGKILL);
	waitpid(fuse->server, NULL, 0);
	kill(fuse->reader, SIGKILL);
	waitpid(fuse->reader, NULL, 0);
	close(fuse->fd);
}
