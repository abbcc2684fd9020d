#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The command line of hugepoison-inject: what it refuses and what it says then, on
# any kernel. Nothing here can poison a page: every call is refused, and those that
# get past the command line are dry runs. What takes hugepages and an injector is in inject-guest.bats. Run as root.
bats_require_minimum_version 1.5.0

setup_file()
{
	make -s -C "$BATS_TEST_DIRNAME/../tools" all sanitize
}

setup()
{
	# The build with ASan and UBSan: a bad read in a parser fails the test.
	TOOL="$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject.sanitize"
	HOLDER="$BATS_TEST_DIRNAME/inject-holder"
	OUT="$BATS_TEST_TMPDIR/out"
	ERR="$BATS_TEST_TMPDIR/err"
	holder=
}

teardown()
{
	if [ -n "$holder" ]; then
		kill "$holder"
		wait "$holder" || true
	fi
}

# refused STATUS TEXT COMMAND...: this exit status, TEXT in the message, no report
refused()
{
	local status=$1 text=$2 got=0

	shift 2
	"$@" > "$OUT" 2> "$ERR" || got=$?
	echo "exit status $got instead of $status? message: $(cat "$ERR")"
	[ "$got" -eq "$status" ]
	[ ! -s "$OUT" ]
	grep -qF -- "$text" "$ERR"
}

usage() { refused 2 "$1" "$TOOL" "${@:2}"; }
failed() { refused 1 "$1" "$TOOL" --dry-run "${@:2}"; }

# hold KIND SIZE COUNT TOUCHED: sets addr
hold()
{
	"$HOLDER" "$@" > "$OUT.holder" 3>&- &
	holder=$!
	for _ in {1..100}; do
		addr=$(sed -n 's/.*addr=\([0-9]*\).*/\1/p' "$OUT.holder")
		[ -z "$addr" ] || return 0
		sleep 0.1
	done
	return 1
}

@test "usage: no target" { usage "no target" ; }
@test "usage: a bare word" { usage "unexpected" file; }
@test "usage: an option that does not exist" { usage "unrecognized" --fill 1; }
@test "usage: an ambiguous abbreviation" { usage "ambiguous" --p 1; }
@test "usage: two targets" { usage "more than one target" --pfn 1 --free; }
@test "usage: the same target twice" { usage "--pfn is given twice" --pfn 1 --pfn 2; }
@test "usage: an option twice" { usage "--offset is given twice" --file x --offset 1 --offset 1; }
@test "usage: --pid without --addr" { usage "--pid needs --addr" --pid 1; }
@test "usage: --addr without --pid" { usage "--addr goes with --pid" --pfn 1 --addr 1; }
@test "usage: --offset with --pfn" { usage "--offset goes with" --pfn 1 --offset 0; }
@test "usage: --node without --free" { usage "go with --free only" --pfn 1 --node 0; }
@test "usage: --size without --free" { usage "go with --free only" --file x --size 2M; }
@test "usage: --any-page with --file" { usage "--any-page goes with" --file x --any-page; }
@test "usage: a way that does not exist" { usage "no such way" --pfn 1 --via magic; }
@test "usage: corrupt-free-hugepage is no way to ask for" {
	usage "no such way" --free --via corrupt-free-hugepage
}
@test "usage: madvise on a process says why and what instead" {
	usage "poisons the caller's own memory" --pid 1 --addr 0x1000 --via madvise
	grep -q -- "--file or --shmid" "$ERR"
}
@test "usage: madvise on a PFN" { usage "needs something to map" --pfn 1 --via madvise; }
@test "usage: madvise on a free hugepage" { usage "needs something to map" --free --via madvise; }
@test "usage: --unpoison with --via" { usage "leave --via out" --pfn 1 --unpoison --via corrupt-pfn; }
@test "usage: --unpoison with --subpage" {
	usage "leave --subpage out" --pfn 1 --unpoison --subpage head
}

@test "numbers: negative" {
	usage "--pfn -1: is negative" --pfn -1
	usage "--offset -4K: is negative" --file x --offset -4K
	usage "--node -1: is negative" --free --node -1
	usage "--subpage -1:" --pfn 1 --subpage -1
}
@test "numbers: nothing, spaces, signs, words" {
	for text in "" " 1" + +1 x 0x 0xg . 1.5 " "; do
		usage "--pfn $text: " --pfn "$text"
	done
}
@test "numbers: something behind them" {
	for text in 1x "1 " 0x1z 1e3 1,5; do
		usage "has something behind" --pfn "$text"
	done
	for text in 1KB 1T 1kk 1K2 0x1M; do
		usage "has something behind" --file x --offset "$text"
	done
}
@test "numbers: no suffix where none makes sense" {
	usage "has something behind" --pfn 1K
	usage "has something behind" --pid 1K --addr 1
	usage "has something behind" --pid 1 --addr 1K
	usage "has something behind" --free --node 1K
}
@test "numbers: hexadecimal without 0x gets the hint" {
	usage "(use decimal, or hexadecimal with 0x)" --pid 1 --addr ff0000
	usage "(hexadecimal needs 0x)" --pid 1 --addr 7f0000200000
}
@test "numbers: too large" {
	usage "is too large" --pfn 18446744073709551616
	usage "is too large" --pfn 0xffffffffffffffffff
	usage "is too large" --pfn 0xffffffffffffff
	usage "is too large" --file x --offset 9223372036854775808
	usage "is too large" --file x --offset 17179869184G
	usage "is too large" --pid 2147483648 --addr 0
	usage "is too large" --shmid 4294967296
	usage "is too large" --free --node 99999999999
}
@test "numbers: --size 0" { usage "no hugepage is that small" --free --size 0; }

@test "--help names every option and the exit codes" {
	run -0 "$TOOL" --help
	for word in --file --offset --pid --addr --shmid --pfn --free --size --node --via \
		    --subpage --unpoison --any-page --dry-run --json "action optional" \
		    "action required" "0 done, 1 failed, 2 usage, 77 not supported"; do
		grep -qF -- "$word" <<< "$output"
	done
}
@test "--version" {
	run -0 "$TOOL" --version
	[[ "$output" =~ ^hugepoison-inject\ [0-9] ]]
}

@test "not root: refused before anything is looked at" {
	refused 1 "run as root" setpriv --reuid 65534 --clear-groups "$TOOL" --dry-run --pfn 1
	refused 1 "run as root" setpriv --reuid 65534 --clear-groups "$TOOL" --dry-run \
		--file /nonexistent
}
@test "root without CAP_SYS_ADMIN: refused" {
	refused 1 "CAP_SYS_ADMIN" setpriv --bounding-set -sys_admin --inh-caps -sys_admin \
		"$TOOL" --dry-run --pfn 1
}

@test "file: absent" { failed "No such file" --file /nonexistent/file; }
@test "file: a directory" { failed "not a regular file" --file /tmp; }
@test "file: a device is not opened" { failed "not a regular file" --file /dev/null; }
@test "file: a FIFO does not hang" {
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	failed "not a regular file" --file "$BATS_TEST_TMPDIR/fifo"
}
@test "file: an empty name" { failed "No such file" --file ""; }
@test "file: not on hugetlbfs, with the remedy" {
	echo data > "$BATS_TEST_TMPDIR/plain"
	failed "is not on hugetlbfs" --file "$BATS_TEST_TMPDIR/plain"
	grep -q "MFD_HUGETLB" "$ERR"
}

@test "pid: absent" { failed "no process 2147483647" --pid 2147483647 --addr 0x1000; }
@test "pid: zero" { failed "no process 0" --pid 0 --addr 0x1000; }
@test "pid: an address in no mapping" { failed "is in no mapping" --pid $$ --addr 0x10; }
@test "pid: an address beyond all" {
	failed "is in no mapping" --pid $$ --addr 0xfffffffffffff000
}
@test "pid: no page there yet" {
	hold plain 2M 2 1
	failed "must touch the address first" --pid "$holder" --addr $((addr + (3 << 20)))
}
@test "pid: a page that is in no hugepage" {
	hold plain 2M 1 1
	failed "is not in a hugepage" --pid "$holder" --addr "$addr"
	grep -q -- "--any-page" "$ERR"
}
@test "pid: --subpage of a page that is in no hugepage" {
	hold plain 2M 1 1
	usage "is not in a hugepage" --pid "$holder" --addr "$addr" --any-page --subpage tail
}

@test "shm: absent" { failed "no shared memory segment 2147483647" --shmid 2147483647; }
@test "shm: no hugepages" {
	id=$(perl -e 'my $i = shmget(0, 8192, 01600); my $b; shmwrite($i, "x", 0, 1); print $i')
	run "$TOOL" --dry-run --shmid "$id"
	offset=$("$TOOL" --dry-run --shmid "$id" --offset 8192 2>&1 || true)
	ipcrm -m "$id"
	echo "$output / $offset"
	[ "$status" -eq 1 ]
	[[ "$output" == *"is not made of hugepages"*SHM_HUGETLB* ]]
	[[ "$offset" == *"beyond the end"* ]]
}
@test "shm: never attached" {
	id=$(perl -e 'print shmget(0, 8192, 01600)')
	run "$TOOL" --dry-run --shmid "$id"
	ipcrm -m "$id"
	[ "$status" -eq 1 ]
	[[ "$output" == *"was never attached"* ]]
}

@test "pfn: no memory there" { failed "no memory at PFN 0xffffffff" --pfn 0xffffffff; }
@test "pfn: a page that is in no hugepage" {
	# The first page frame is never handed out.
	failed "PFN 0x0 is not in a hugepage" --pfn 0
}

@test "free: a size the kernel does not have names those it has" {
	failed "no hugepages of size 3M, only" --free --size 3M
}
@test "free: a node that is not there" {
	failed "node 1023 is not online" --free --size 2M --node 1023
}
@test "free: none there, with the remedy" {
	free=/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages
	[ "$(cat $free)" = 0 ] || skip "$free is not 0"
	failed "no free 2M hugepage on node 0: echo N > ${free%/*}/nr_hugepages" \
		--free --size 2M --node 0
}

# shellcheck disable=SC2016 # the inner shell expands these
@test "debugfs not mounted: says how to mount it" {
	grep -q debugfs /proc/filesystems || skip "no debugfs in /proc/filesystems"
	refused 1 "mount -t debugfs none /sys/kernel/debug" unshare -m sh -c \
		'for d in $(sed -n "s/^[^ ]* \([^ ]*\) debugfs .*/\1/p" /proc/mounts); do
			umount -l "$d"; done; exec "$@"' sh "$TOOL" --dry-run --pfn 0 --any-page
}
# shellcheck disable=SC2016
@test "no injector in the kernel: 77, and nothing was touched" {
	refused 77 "CONFIG_HWPOISON_INJECT" unshare -m sh -c \
		'mount -t debugfs none /sys/kernel/debug; [ ! -d /sys/kernel/debug/hwpoison ] ||
			mount --bind /sys/kernel/debug/block /sys/kernel/debug; exec "$@"' \
		sh "$TOOL" --dry-run --pfn 0 --any-page
}
@test "no hard_offline_page in the kernel: 77" {
	file=/sys/devices/system/memory/hard_offline_page
	[ ! -e $file ] || skip "$file is there"
	refused 77 "CONFIG_MEMORY_FAILURE" "$TOOL" --dry-run --pfn 0 --any-page \
		--via hard-offline
}

@test "install and clean" {
	make -s -C "$BATS_TEST_DIRNAME/../tools" install DESTDIR="$BATS_TEST_TMPDIR/root" PREFIX=/usr
	[ -x "$BATS_TEST_TMPDIR/root/usr/sbin/hugepoison-inject" ]
	make -s -C "$BATS_TEST_DIRNAME/../tools" all sanitize OUT="$BATS_TEST_TMPDIR/out"
	[ -x "$BATS_TEST_TMPDIR/out/hugepoison-inject.sanitize" ]
	make -s -C "$BATS_TEST_DIRNAME/../tools" clean OUT="$BATS_TEST_TMPDIR/out"
	[ -z "$(ls "$BATS_TEST_TMPDIR/out")" ]
}
