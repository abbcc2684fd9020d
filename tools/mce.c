// SPDX-License-Identifier: GPL-2.0
/*
 * hugepoison-inject: an error through the machine check code, by debugfs mce-inject/.
 *
 * Type "sw" would call the decoders only, and never the error handler. So the tool
 * writes a deferred error, one that nobody has run into, to the registers of a bank
 * (type "hw"): it raises no fatal machine check on any processor, and the kernel finds
 * it when it polls its banks. The tool makes the kernel poll every second until it has.
 * AMD only: on others the kernel's mce-inject writes a register that they lack.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "inject.h"

#define CHECK_INTERVAL	"/sys/devices/system/machinecheck/machinecheck0/check_interval"
#define WAIT_SECONDS	15
#define BANK		"1"
/* VAL, EN, MISCV, ADDRV; deferred, poison: of MCi_STATUS */
#define STATUS		"0x9c00180000000000"
#define MISC		"0x8c"	/* a physical address, of a whole page */

static bool amd(void)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "vendor_id", 9) && (strstr(line, "AuthenticAMD") ||
							   strstr(line, "HygonGenuine"));
	if (f)
		fclose(f);
	return found;
}

/**
 * mce_check - can the kernel inject this way
 * @debugfs: where debugfs is mounted
 *
 * Return: DONE, or an exit status after a message.
 */
int mce_check(const char *debugfs)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/mce-inject/bank", debugfs);
	if (access(path, F_OK))
		return fail(UNSUPPORTED,
			    "%s is absent: modprobe mce-inject, or build the kernel with "
			    "CONFIG_X86_MCE_INJECT",
			    path);
	if (!amd())
		return fail(UNSUPPORTED, "the kernel's mce-inject writes a register that only AMD "
			    "processors have");
	if (access(path, W_OK) || access(CHECK_INTERVAL, W_OK))
		return fail(FAILED, "cannot write to %s and " CHECK_INTERVAL ": %s", path,
			    strerror(errno));
	return DONE;
}

static int set(const char *debugfs, const char *name, const char *text)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/mce-inject/%s", debugfs, name);
	return write_text(path, text);
}

static int write_registers(const char *debugfs, uint64_t pfn)
{
	char addr[32];
	int err = set(debugfs, "flags", "hw\n"); /* it takes off the last character */

	snprintf(addr, sizeof(addr), "0x%" PRIx64, pfn << PAGE_SHIFT);
	if (!err)
		err = set(debugfs, "cpu", "0");
	if (!err)
		err = set(debugfs, "status", STATUS);
	if (!err)
		err = set(debugfs, "misc", MISC);
	if (!err)
		err = set(debugfs, "addr", addr);
	/* this one sets it off */
	return err ? err : set(debugfs, "bank", BANK);
}

/**
 * mce_inject - have the machine check code report a page
 * @debugfs: where debugfs is mounted
 * @pfn: the page
 *
 * Return: 0, or an errno; ETIMEDOUT if the kernel did not handle it.
 */
int mce_inject(const char *debugfs, uint64_t pfn)
{
	double end = now() + WAIT_SECONDS;
	bool before = page_poisoned(pfn);
	char interval[24];
	int err = EIO;

	if (!read_word(CHECK_INTERVAL, interval, sizeof(interval)))
		return err;
	/* first: the kernel clears the banks then */
	write_text(CHECK_INTERVAL, "1");
	err = write_registers(debugfs, pfn);
	while (!err && page_poisoned(pfn) == before && now() < end)
		sleep_until(now() + 0.1);
	/* the kernel sets the mark first, then the handler runs */
	sleep_until(now() + 0.5);
	write_text(CHECK_INTERVAL, interval);
	if (!err && !before && !page_poisoned(pfn))
		err = ETIMEDOUT;
	return err;
}
