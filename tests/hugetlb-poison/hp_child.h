/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Children of a test that expect things themselves, and what calls said. To be
 * included after kselftest_harness.h.
 */
#ifndef HP_CHILD_H
#define HP_CHILD_H

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hp_narrowed.h"

/* The harness's arguments of a test, for its parts. */
#define META		struct __test_metadata *_metadata

#define EXPECT_RIGHT(n)		EXPECT_EQ(0, hp_narrowed_wrong(n))

/* 0, or the errno. */
static inline int said(long ret)
{
	return ret == -1 ? errno : 0;
}

typedef void (*child_fn)(META, struct hp_narrowed *n);

/* Expectations of a child count for the test, assertions would not. */
static inline pid_t start_child(META, child_fn fn, struct hp_narrowed *n)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(_metadata, n);
		fflush(stdout);
		_exit(EXIT_SUCCESS);
	}
	EXPECT_LT(0, pid);
	return pid;
}

/* Returns the wait status. */
static inline int run_child(META, child_fn fn, struct hp_narrowed *n)
{
	int status = -1;
	pid_t pid = start_child(_metadata, fn, n);

	if (pid > 0)
		waitpid(pid, &status, 0);
	return status;
}

#endif /* HP_CHILD_H */
