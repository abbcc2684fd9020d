// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject - inject memory errors into hugepages, and show their
 * outcomes. Here are the commands; each is in a file of its name.
 *
 * The same program is installed as hugepoisonctl, for hosts at work: under that name
 * it has no command that makes an error.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "inject.h"

static const struct entry {
	const char *name;
	enum command flag;
	const char *summary;
	const char *doc;	/* above and, after \v, below the options, as argp has it */
	int (*run)(struct options *opt);
} commands[] = {
	{ "status", CMD_STATUS, "policy, counters, poisoned hugepages, pools (the default)",
	  "Show the policy, the counters and the pools of hugepages of each size and node.\v"
	  "Nothing is changed. Without root a stock kernel does not say how many hugepages are "
	  "poisoned.",
	  run_status },
	{ "list", CMD_LIST, "bad pages and their owners",
	  "List the hugepages with errors: size, node, state, the page frames that are bad, owner.\v"
	  "Without --file and --shmid it takes root. With one of them it lists the losses of its "
	  "mappers, and takes only the right to map it. Nothing is changed.",
	  run_list },
	{ "monitor", CMD_MONITOR, "events as they happen",
	  "Report errors in hugepages, and later steps, a line for each event.\v"
	  "It takes root. When a signal ends it, it leaves nothing behind. A stock kernel reports "
	  "errors only, in any page.",
	  run_monitor },
	{ "remember", CMD_REMEMBER, "bad pages over reboots",
	  "Remember which pages are bad, and take them out of use after a reboot.\v"
	  "It never remembers injected errors, and leaves a page in use whose memory module was "
	  "exchanged. The kernel moves pages in use, and no process is hurt.",
	  run_remember },
	{ "features", CMD_FEATURES, "what this kernel has, and what it lacks",
	  "Show the kernel's means to inject, to find and to contain errors, and why some are "
	  "missing.",
	  run_features },
	{ "inject", CMD_INJECT, "put an error into a raw page of a hugepage",
	  "Put a simulated memory error into one raw page of a hugepage, or into each of several, "
	  "and report what was hit and what changed.\v"
	  "This kills processes and takes memory away, as a real error does: for test machines. "
	  "Without --yes it shows what would be hit, and stops.\n\n"
	  "Holes are refused: no hugepage is ever allocated.\n\n"
	  "Examples:\n"
	  "  hugepoison-inject inject --file /dev/hugepages/db --offset 4M --dry-run\n"
	  "  hugepoison-inject inject --pid 1234 --addr 0x7f2a40000000 --subpage tail --yes\n"
	  "  hugepoison-inject inject --free --size 1G --node 1 --yes\n",
	  run_inject },
	{ "unpoison", CMD_UNPOISON, "take an injected error back",
	  "Take an injected error back: on a stock kernel all errors of the hugepage, with "
	  "CONFIG_HUGEPOISON that of the named page, or all if it has none.\v"
	  "Only the kernel knows whether it still can. A poisoned hugepage named by file, address "
	  "or segment is found if it is the only poisoned one of its size. --free: a poisoned "
	  "hugepage in the pool.",
	  run_inject },
	{ "verify", CMD_VERIFY, "read all of a target: healthy pages can be read, raw ones cannot",
	  "Read every page of a file, a segment or a process's hugepages, and compare the "
	  "unreadable pages with the kernel's list of lost ones.\v"
	  "The tool maps a file or segment, and shows the SIGBUS; it reads a process through "
	  "/proc/PID/mem, without a signal. It leaves out holes, which stay holes. Reading maps "
	  "the pages, as any access would.",
	  run_verify },
	{ "soak", CMD_SOAK, "many errors, at random, for a while",
	  "Inject errors at random raw pages of a target's hugepages until a limit is reached.\v"
	  "This kills processes and takes memory away, as real errors do: for test machines. "
	  "Without --yes it shows what would be hit, and stops.\n\n"
	  "Hugepages with an error are left out, unless --second is given. The same seed takes "
	  "the same sequence of random numbers. With --report, --resume goes on where a soak "
	  "was stopped.",
	  run_soak },
};

#define INJECTING	(CMD_INJECT | CMD_UNPOISON | CMD_SOAK)

static bool everyday;	/* called as hugepoisonctl */

static bool command_known(const struct entry *command)
{
	return !everyday || !(command->flag & INJECTING);
}

static void print_help(FILE *f)
{
	fprintf(f, "Usage: %s [COMMAND] [OPTION...]\n"
		"Memory errors in hugepages: %s.\n\n", program,
		everyday ? "show them, and keep bad pages out of use" :
			   "inject them, and show their outcomes");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (command_known(&commands[i]))
			fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(f, "\n  %s COMMAND --help tells the options of a command.\n\n", program);
	if (!everyday)
		fprintf(f, "Injected errors kill processes and take memory away, as real ones do: "
			"for test\nmachines. Nothing is hit without --yes.\n\n");
	fprintf(f, "Exit status: 0 done, 1 failed, 2 usage, 77 not supported by this kernel.\n");
}

static const struct entry *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

/* A suffix of the name, as in hugepoisonctl.static, does not count. */
static void take_name(const char *path)
{
	everyday = !strncmp(basename(path), EVERYDAY_NAME, strlen(EVERYDAY_NAME));
	if (everyday)
		program = EVERYDAY_NAME;
}

static int choose_command(const char *name, const struct entry **command)
{
	*command = find_command(name);
	if (*command && command_known(*command))
		return DONE;
	if (*command)
		return fail(USAGE, "%s: makes or undoes errors: hugepoison-inject %s", name, name);
	print_help(stderr);
	return fail(USAGE, "%s: no such command", name);
}

int main(int argc, char **argv)
{
	const struct entry *command = &commands[0];
	struct options opt = { 0 };
	char name[64];
	int status;

	take_name(argc ? argv[0] : "");
	snprintf(name, sizeof(name), "%s", program);
	/* A closed pipe is an error to report, after the injection, not to die of. */
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		print_help(stdout);
		return finish_output(stdout, "standard output");
	}
	if (argc > 1 && argv[1][0] != '-') {
		status = choose_command(argv[1], &command);
		if (status)
			return status;
		snprintf(name, sizeof(name), "%s %s", program, command->name);
		argv++;
		argc--;
	}
	if (argc)
		argv[0] = name;
	status = options_parse(command->flag, argc, argv, command->doc, 0, &opt);
	return status ? status : command->run(&opt);
}
