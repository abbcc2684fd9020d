// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: look up a file's page at an offset, without touching it.
 *
 * The PFN behind an offset of a hugetlbfs file is in /proc/self/pagemap once we
 * map the file, but only for pages that our page table holds, and touching a
 * hole would allocate a hugepage, which no injector may do. No other call says,
 * without touching it, whether the page cache has the page: lseek(SEEK_DATA)
 * calls the whole file data, cachestat() refuses hugetlbfs, mincore() looks at
 * our empty page table only, st_blocks counts without saying where.
 *
 * UFFDIO_CONTINUE does it: in a mapping registered for userfaultfd minor faults
 * it maps the page that the page cache holds, fails with EFAULT where there is
 * none and with EIO where it is poisoned, and it never allocates. The mapping is
 * MAP_NORESERVE, lest it takes a reservation that would stay with the file, and
 * without PROT_WRITE, lest it extends the file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "page.h"

static int no_userfaultfd(const char *what)
{
	return fail(UNSUPPORTED, "cannot find the page without userfaultfd: %s: %s: the kernel "
		    "needs CONFIG_USERFAULTFD with minor faults on hugetlbfs; --pid and --pfn "
		    "work without", what, strerror(errno));
}

static int register_minor(int uffd, void *addr, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_HUGETLBFS };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)addr, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};

	if (ioctl(uffd, UFFDIO_API, &api))
		return no_userfaultfd("UFFDIO_API");
	if (!ioctl(uffd, UFFDIO_REGISTER, &reg))
		return DONE;
	if (errno == EPERM)
		return fail(FAILED,
			    "cannot look into the file: it is sealed against writing or opened "
			    "read-only; use --pid or --pfn");
	return no_userfaultfd("UFFDIO_REGISTER");
}

/* Map the hugepage at @addr from the page cache, if it is there. */
static int continue_page(int uffd, void *addr, size_t size, enum probe *result)
{
	struct uffdio_continue cont = {
		.range = { .start = (uintptr_t)addr, .len = size },
		.mode = UFFDIO_CONTINUE_MODE_DONTWAKE,
	};
	int err = 0;

	do {
		cont.mapped = 0;
		err = ioctl(uffd, UFFDIO_CONTINUE, &cont) ? errno : 0;
	} while (err == EAGAIN || err == EINTR);

	switch (err) {
	case 0:
	case EEXIST:
		*result = PROBE_PRESENT;
		return DONE;
	case EFAULT:
		*result = PROBE_HOLE;
		return DONE;
	case EIO:
		*result = PROBE_POISONED;
		return DONE;
	default:
		errno = err;
		return no_userfaultfd("UFFDIO_CONTINUE");
	}
}

/**
 * probe_page - look up a file's page at an offset, without allocating one
 * @addr: where the hugepage is, or would be, mapped; it is afterwards, if it is healthy
 * @size: of the hugepage, in bytes
 * @result: the result
 *
 * Return: DONE, or an exit status after a message.
 */
int probe_page(void *addr, size_t size, enum probe *result)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	int status;

	*result = PROBE_FAILED;
	if (uffd < 0 && errno == EPERM)
		uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (uffd < 0)
		return no_userfaultfd("userfaultfd()");
	status = register_minor(uffd, addr, size);
	if (!status)
		status = continue_page(uffd, addr, size, result);
	close(uffd);
	return status;
}
