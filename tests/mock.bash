# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# A machine of files: what the tool finds in /sys, /proc, /run and /var/lib is what a test
# has put below $MOCK. The tool itself is the real one and knows nothing of it.

# make_machine: two nodes, two sizes of hugepages, none of them; our kernel
make_machine()
{
	local node kb pool file

	MOCK=$BATS_TEST_TMPDIR/machine
	BIN=$BATS_TEST_TMPDIR/bin
	TOOL=$BIN/hugepoisonctl
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	mkdir -p "$BIN" "$MOCK"/{sys,proc,run,lib,realproc} "$MOCK"/proc/{sys/vm,hugepoison}
	ln -sf "$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject.sanitize" "$TOOL"
	ln -sf hugepoisonctl "$BIN/hugepoison-inject"
	ln -sfn "$MOCK/realproc/self" "$MOCK/proc/self"
	echo 'HardwareCorrupted:     0 kB' > "$MOCK/proc/meminfo"
	echo 'pfn kB node state owner' > "$MOCK/proc/hugepoison/bad_pages"
	mkdir -p "$MOCK/sys/devices/system/node" "$MOCK/sys/devices/system/memory" \
		"$MOCK/sys/kernel/mm/hugepoison"
	echo 0-1 > "$MOCK/sys/devices/system/node/online"
	echo '[page] hugepage' > "$MOCK/sys/kernel/mm/hugepoison/containment"
	echo 1 > "$MOCK/sys/kernel/mm/hugepoison/replace"
	for kb in 2048 1048576; do
		mkdir -p "$MOCK/sys/kernel/mm/hugepages/hugepages-${kb}kB"
		echo 0 > "$MOCK/sys/kernel/mm/hugepages/hugepages-${kb}kB/resv_hugepages"
		for node in 0 1; do
			pool=$MOCK/sys/devices/system/node/node$node/hugepages/hugepages-${kb}kB
			mkdir -p "$pool" "$MOCK/sys/kernel/mm/hugepoison/node$node/hugepages-${kb}kB"
			for file in nr free surplus; do
				echo 0 > "$pool/${file}_hugepages"
			done
			for file in mce_bad_pages poisoned_hugepages narrowed failed released; do
				echo 0 > "$MOCK/sys/kernel/mm/hugepoison/node$node/hugepages-${kb}kB/$file"
			done
		done
	done
	# page frames 0 to 0x7fff are node 0's, up to 0xffff node 1's; nothing is in use
	printf 'Node %s, zone DMA32\n  spanned 32768\n  start_pfn: %s\n' 0 0 1 32768 > "$MOCK/proc/zoneinfo"
	truncate -s $((65536 * 8)) "$MOCK/proc/kpageflags" "$MOCK/proc/kpagecount"
}

# set_flags PFN FLAGS: what /proc/kpageflags says of a page frame
set_flags()
{
	python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("<Q", int(sys.argv[1], 0)))' "$2" |
		dd of="$MOCK/proc/kpageflags" bs=8 seek=$(($1)) conv=notrunc status=none
}

# mocked COMMAND...: on that machine. Its /proc has no tasks, without which ASan cannot look
# for leaks.
# shellcheck disable=SC2016 # the inner shell expands these
mocked()
{
	ASAN_OPTIONS=detect_leaks=0 unshare --mount sh -c 'mock=$1; shift
		mount --rbind /proc "$mock/realproc" && mount --bind "$mock/proc" /proc &&
		mount --bind "$mock/run" /run && mount --bind "$mock/lib" /var/lib &&
		mount --bind "$mock/sys" /sys && { [ ! -e "$mock/kmsg" ] || mount --bind "$mock/kmsg" /dev/kmsg; } &&
		exec "$@"' sh "$MOCK" "$@"
}

# modules [MACHINE] LOCATOR:SERIAL:MB[:START-END]...: what the firmware says of its memory
modules()
{
	local machine=00112233445566778899aabbccddeeff

	[[ $1 == *:* ]] || { machine=$1; shift; }
	mkdir -p "$MOCK/sys/firmware/dmi/tables"
	"$BATS_TEST_DIRNAME/dmi-table" "$machine" "$@" > "$MOCK/sys/firmware/dmi/tables/DMI"
}

# bad_pages: the kernel's list is standard input
bad_pages()
{
	{ echo 'pfn kB node state owner'; cat; } > "$MOCK/proc/hugepoison/bad_pages"
}

is() { jq -es "$1" "$OUT" > /dev/null || { echo "not so: $1"; cat "$OUT"; return 1; }; }

# refused STATUS TEXT COMMAND...: this exit status, TEXT in the message
refused()
{
	local status=$1 text=$2 got=0

	shift 2
	"$@" > "$OUT" 2> "$ERR" || got=$?
	echo "exit status $got instead of $status? message: $(cat "$ERR")"
	[ "$got" -eq "$status" ]
	grep -qF -- "$text" "$ERR"
}
