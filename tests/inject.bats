#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The command line of hugepoison-inject: refused calls and their messages, on any kernel. No test
# here can poison a page: the tool refuses every call, and calls that get past the command line are
# dry runs. Tests that need hugepages and an injector are in inject-guest.bats. Run as root.
bats_require_minimum_version 1.5.0

setup_file()
{
	make -s -C "$BATS_TEST_DIRNAME/../tools" all sanitize
}

setup()
{
	# The build with ASan and UBSan: a bad read in a parser fails the test.
	TOOL="$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject.sanitize"
	TOOLS="$BATS_TEST_DIRNAME/../tools"
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

usage() { refused 2 "$1" "$TOOL" inject "${@:2}"; }
failed() { refused 1 "$1" "$TOOL" inject --dry-run "${@:2}"; }

# hold KIND SIZE COUNT TOUCHED: sets addr
hold()
{
	: > "$OUT.holder"
	"$HOLDER" "$@" > "$OUT.holder" 3>&- &
	holder=$!
	for _ in {1..1200}; do
		addr=$(sed -n 's/.*addr=\([0-9]*\).*/\1/p' "$OUT.holder")
		[ -z "$addr" ] || return 0
		sleep 0.1
	done
	echo "waited 120 s in vain for the holder's answer"
	return 1
}

@test "usage: no target" { usage "no target" ; }
@test "usage: a bare word" { usage "unexpected" file; }
@test "usage: an option that does not exist" { usage "unrecognized" --fill 1; }
@test "usage: an ambiguous abbreviation" { usage "ambiguous" --p 1; }
@test "usage: two targets" { usage "more than one target" --pfn 1 --free; }
@test "usage: no such command" { refused 2 "fill: no such command" "$TOOL" fill --pfn 1; }
@test "usage: options of another command" {
	refused 2 "unrecognized" "$TOOL" --pfn 1
	refused 2 "unrecognized" "$TOOL" status --pfn 1
	refused 2 "unrecognized" "$TOOL" list --pid 1
	refused 2 "unrecognized" "$TOOL" inject --pfn 1 --prometheus
	refused 2 "unrecognized" "$TOOL" unpoison --pfn 1 --via corrupt-pfn
	refused 2 "unrecognized" "$TOOL" unpoison --pfn 1 --subpage head
	refused 2 "unrecognized" "$TOOL" verify --pfn 1
}
@test "usage: the same target twice" { usage "--pfn is given twice" --pfn 1 --pfn 2; }
@test "usage: an option twice" { usage "--offset is given twice" --file x --offset 1 --offset 1; }
@test "usage: --pid without --addr" { usage "--pid needs --addr" --pid 1; }
@test "usage: what goes with what" {
	usage "--hugepage is a place of its own" --file x --offset 1 --hugepage 1
	usage "--hugepage goes with" --pfn 1 --hugepage 1
	usage "more than one target" --all-of 1 --pid 1
	usage "--all-of takes all" --all-of 1 --addr 1
	usage "--any-page goes with" --all-of 1 --any-page
	usage "no such state" --pid 1 --addr 1 --state lost
	usage "--state free and reserved go with" --file x --state free
	usage "--state can be free or reserved" --free --state shared
	usage "--state pinned goes with" --file x --state pinned
	usage "--again and --second go with errors" --pfn 1 --via soft-offline --again
	refused 2 "no limit" "$TOOL" soak --pid 1
	refused 2 "--resume needs --report" "$TOOL" soak --pid 1 --count 1 --resume
	refused 2 "leave --seed out" "$TOOL" soak --pid 1 --count 1 --resume --report x --seed 1
	refused 2 "has to be more than 0" "$TOOL" soak --pid 1 --count 0
	refused 2 "give one only" "$TOOL" status --json --prometheus
	refused 2 "unrecognized" "$TOOL" status --dimm
}
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

# The options that --help of the commands names, one a line.
help_options()
{
	local command

	for command in $("$TOOL" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
		"$TOOL" "$command" --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+'
	done | sort -u
}
@test "--help, man page and completion agree" {
	help_options > "$OUT"
	[ "$(wc -l < "$OUT")" -gt 30 ]
	sed -n '/^\.Sh OPTIONS/,/^\.Sh SEE/p' "$TOOLS/hugepoison-inject.8" | grep '^\.It' |
		grep -oE 'Fl -[a-z-]+' | sed 's/Fl /-/' | sort -u > "$OUT.man"
	diff "$OUT" "$OUT.man"
	"$TOOL" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' > "$OUT"
	[ "$(wc -l < "$OUT")" = 9 ]
	sed -n '/^.Sh COMMANDS/,/^.Sh ENV/s/^.It Cm \([a-z]*\).*/\1/p' "$TOOLS/hugepoison-inject.8" | diff "$OUT" -
}
# completes WORD...: what the completion offers for the last word, in COMPREPLY
completes()
{
	COMP_WORDS=(hugepoison-inject "$@")
	COMP_CWORD=$#
	PATH="${TOOL%/*}:$PATH"
	[ -e "$BATS_TEST_TMPDIR/hugepoison-inject" ] || ln -s "$TOOL" "$BATS_TEST_TMPDIR/hugepoison-inject"
	PATH="$BATS_TEST_TMPDIR:$PATH"
	# shellcheck disable=SC1091
	source "$TOOLS/hugepoison-inject.bash"
	_hugepoison_inject
}
@test "completion: commands, and the options of each as the tool has them" {
	completes ""
	[ "${COMPREPLY[*]}" = "$("$TOOL" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' | xargs)" ]
	for command in "${COMPREPLY[@]}"; do
		completes "$command" --
		printf '%s\n' "${COMPREPLY[@]}" | sort | diff - <("$TOOL" "$command" --help |
			grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort)
	done
	completes inject --via h
	[ "${COMPREPLY[*]}" = hard-offline ]
}
@test "completion: what the live system has" {
	completes inject --node ""
	[ "${COMPREPLY[*]}" = "$(find /sys/devices/system/node -name 'node[0-9]*' -printf '%f\n' |
		sed s/node// | sort -n | xargs)" ]
	id=$(perl -e 'print shmget(0, 8192, 01600)')
	completes inject --shmid ""
	ipcrm -m "$id"
	[[ " ${COMPREPLY[*]} " == *" $id "* ]]
}
# shellcheck disable=SC2016 # nothing is to be expanded
@test "completion: the names of files run nothing" {
	completes inject --file ""
	_hugepoison_inject_files() { echo '/dev/hugepages/$(touch '"$BATS_TEST_TMPDIR"'/ran) a'; }
	_hugepoison_inject
	[[ "${COMPREPLY[0]}" == '/dev/hugepages/\$\(touch'* ]]
	[ ! -e "$BATS_TEST_TMPDIR/ran" ]
}
@test "--version" {
	run -0 "$TOOL" --version
	[[ "$output" =~ ^hugepoison-inject\ [0-9] ]]
	run -0 "$TOOL" inject --version
	[[ "$output" =~ ^hugepoison-inject\ [0-9] ]]
}

@test "not root: refused before anything is looked at" {
	refused 1 "run as root" setpriv --reuid 65534 --clear-groups "$TOOL" inject --dry-run --pfn 1
	refused 1 "run as root" setpriv --reuid 65534 --clear-groups "$TOOL" inject --dry-run \
		--file /nonexistent
}
@test "root without CAP_SYS_ADMIN: refused" {
	refused 1 "CAP_SYS_ADMIN" setpriv --bounding-set -sys_admin --inh-caps -sys_admin \
		"$TOOL" inject --dry-run --pfn 1
}

@test "not root: status and features work, list says what to do" {
	run -0 setpriv --reuid 65534 --clear-groups "$TOOL"
	[[ "$output" == Linux* && "$output" == *now* ]]
	run -0 setpriv --reuid 65534 --clear-groups "$TOOL" features
	refused 1 "name what is yours" setpriv --reuid 65534 --clear-groups "$TOOL" list
	refused 1 "run as root" setpriv --reuid 65534 --clear-groups "$TOOL" soak --pid 1 --count 1
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
	run "$TOOL" inject --dry-run --shmid "$id"
	offset=$("$TOOL" inject --dry-run --shmid "$id" --offset 8192 2>&1 || true)
	ipcrm -m "$id"
	echo "$output / $offset"
	[ "$status" -eq 1 ]
	[[ "$output" == *"is not made of hugepages"*SHM_HUGETLB* ]]
	[[ "$offset" == *"beyond the end"* ]]
}
@test "shm: never attached" {
	id=$(perl -e 'print shmget(0, 8192, 01600)')
	run "$TOOL" inject --dry-run --shmid "$id"
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
			umount -l "$d"; done; exec "$@"' sh "$TOOL" inject --dry-run --pfn 0 --any-page
}
# shellcheck disable=SC2016
@test "no injector in the kernel: 77, and nothing was touched" {
	refused 77 "CONFIG_HWPOISON_INJECT" unshare -m sh -c \
		'mount -t debugfs none /sys/kernel/debug; [ ! -d /sys/kernel/debug/hwpoison ] ||
			mount --bind /sys/kernel/debug/block /sys/kernel/debug; exec "$@"' \
		sh "$TOOL" inject --dry-run --pfn 0 --any-page
}
@test "no hard_offline_page in the kernel: 77" {
	file=/sys/devices/system/memory/hard_offline_page
	[ ! -e $file ] || skip "$file is there"
	refused 77 "CONFIG_MEMORY_FAILURE" "$TOOL" inject --dry-run --pfn 0 --any-page \
		--via hard-offline
}

@test "valgrind has nothing to say" {
	plain="${TOOL%.sanitize}"
	for args in --help "" features "status --json" list "soak --help" "inject --dry-run --pfn 0" \
		    "inject --pfn 1-x" "verify --pid $$" "soak --pid $$ --count 1" "unpoison --pfn 0"; do
		# shellcheck disable=SC2086 # words
		run valgrind -q --leak-check=full --show-leak-kinds=definite,possible --error-exitcode=99 "$plain" $args
		echo "$args: $output"
		[ "$status" -ne 99 ]
		[[ "$output" != *"== "* ]]
	done
}

@test "the static build needs no library, and works" {
	make -s -C "$TOOLS" static
	run ldd "${TOOL%.sanitize}.static"
	[[ "$output" == *"not a dynamic executable"* ]]
	diff <("${TOOL%.sanitize}.static" features) <("${TOOL%.sanitize}" features)
}

@test "a closed or full standard output is an error for each command" {
	for args in --help status "status --prometheus" list features; do
		run -1 bash -c "\"$TOOL\" $args > /dev/full"
		[[ "$output" == *"cannot write the report"* ]]
		run -1 bash -c "\"$TOOL\" $args >&-"
	done
}

status_to() { "$TOOL" status --prometheus --output "$1"; }

@test "status --output: a file is replaced with its mode and owner, all at once" {
	file=$BATS_TEST_TMPDIR/f.prom
	status_to "$file"
	grep -q hugepoison_info "$file"
	[ "$(stat -c '%F %a' "$file")" = 'regular file 644' ]
	echo old > "$file"
	chmod 640 "$file"
	chown 65534:65533 "$file"
	inode=$(stat -c %i "$file")
	status_to "$file"
	grep -q hugepoison_info "$file"
	[ "$(stat -c '%a %u %g' "$file")" = '640 65534 65533' ]
	[ "$(stat -c %i "$file")" != "$inode" ]
	# who may write the directory but not give a file away has one of his own there
	chmod 777 "$BATS_TEST_TMPDIR"
	cd "$BATS_TEST_TMPDIR"
	run -0 setpriv --reuid 65533 --regid 65533 --clear-groups "$TOOL" status --output f.prom
	[ "$(stat -c '%a %u' "$file")" = '640 65533' ]
	[ "$(ls "$BATS_TEST_TMPDIR")" = f.prom ]
}

@test "status --output: a device and a FIFO are written into and stay" {
	mknod "$BATS_TEST_TMPDIR/null" c 1 3
	mknod "$BATS_TEST_TMPDIR/full" c 1 7
	status_to "$BATS_TEST_TMPDIR/null"
	[ "$(stat -c '%F %a' "$BATS_TEST_TMPDIR/null")" = 'character special file 644' ]
	refused 1 "cannot write the report to $BATS_TEST_TMPDIR/full" status_to "$BATS_TEST_TMPDIR/full"
	run -0 status_to /dev/stdout
	[[ "$output" == *hugepoison_info* ]]
	[ -L /dev/stdout ]
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	refused 1 "nobody reads $BATS_TEST_TMPDIR/fifo" status_to "$BATS_TEST_TMPDIR/fifo"
	exec {fifo}<> "$BATS_TEST_TMPDIR/fifo"
	status_to "$BATS_TEST_TMPDIR/fifo"
	read -r -u "$fifo" line
	[[ "$line" == '# HELP hugepoison_info'* ]]
	[ -p "$BATS_TEST_TMPDIR/fifo" ]
	exec {fifo}>&-
	[ -z "$(find "$BATS_TEST_TMPDIR" -name '*.??????')" ]
}

@test "status --output: a symbolic link stays, what it leads to is replaced" {
	mkdir "$BATS_TEST_TMPDIR/far"
	echo old > "$BATS_TEST_TMPDIR/far/f.prom"
	ln -s far/f.prom "$BATS_TEST_TMPDIR/link"
	status_to "$BATS_TEST_TMPDIR/link"
	[ "$(readlink "$BATS_TEST_TMPDIR/link")" = far/f.prom ]
	grep -q hugepoison_info "$BATS_TEST_TMPDIR/far/f.prom"
	[ -z "$(find "$BATS_TEST_TMPDIR" -name '*.??????')" ]
	ln -sfn /dev/null "$BATS_TEST_TMPDIR/link"
	status_to "$BATS_TEST_TMPDIR/link"
	[ "$(readlink "$BATS_TEST_TMPDIR/link")" = /dev/null ]
	[ -c /dev/null ]
	ln -sfn nowhere "$BATS_TEST_TMPDIR/link"
	refused 1 "is a symbolic link to nothing" status_to "$BATS_TEST_TMPDIR/link"
	ln -sfn link "$BATS_TEST_TMPDIR/link"
	refused 1 "Too many levels of symbolic links" status_to "$BATS_TEST_TMPDIR/link"
	[ -L "$BATS_TEST_TMPDIR/link" ]
}

@test "status --output: a directory, a disk, a socket are refused and stay" {
	mkdir "$BATS_TEST_TMPDIR/d"
	refused 1 "is a directory: name a file" status_to "$BATS_TEST_TMPDIR/d"
	mknod "$BATS_TEST_TMPDIR/disk" b 7 0
	refused 1 "is a disk, which it would overwrite" status_to "$BATS_TEST_TMPDIR/disk"
	python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' \
		"$BATS_TEST_TMPDIR/socket"
	refused 1 "is a socket: name a file" status_to "$BATS_TEST_TMPDIR/socket"
	[ -b "$BATS_TEST_TMPDIR/disk" ] && [ -S "$BATS_TEST_TMPDIR/socket" ]
}

# shellcheck disable=SC2016 # nothing is to be expanded
@test "docs/injector.md shows the session that tools/session runs" {
	sed -nE 's/^show [0-9]+ /$ hugepoison-inject /p' "$TOOLS/session" |
		sed 's|$db|/dev/hugepages/db|' > "$OUT"
	[ -s "$OUT" ]
	sed -n 's/^    \(\$ hugepoison-inject\)/\1/p' "$TOOLS/../docs/injector.md" | diff "$OUT" -
}

@test "the man page is clean" { mandoc -T lint -W warning "$TOOLS/hugepoison-inject.8"; }

@test "install and clean" {
	make -s -C "$TOOLS" install DESTDIR="$BATS_TEST_TMPDIR/root" prefix=/usr
	cd "$BATS_TEST_TMPDIR/root/usr"
	[ -x sbin/hugepoison-inject ]
	[ "$(readlink sbin/hugepoisonctl)" = hugepoison-inject ]
	sbin/hugepoisonctl --version | grep -q '^hugepoisonctl '
	cmp share/man/man8/hugepoisonctl.8 "$TOOLS/hugepoisonctl.8"
	cmp share/man/man7/hugepoison.7 "$TOOLS/hugepoison.7"
	cmp share/man/man8/hugepoison-inject.8 "$TOOLS/hugepoison-inject.8"
	cmp share/bash-completion/completions/hugepoison-inject "$TOOLS/hugepoison-inject.bash"
	make -s -C "$TOOLS" all sanitize OUT="$BATS_TEST_TMPDIR/out"
	[ -x "$BATS_TEST_TMPDIR/out/hugepoison-inject.sanitize" ]
	make -s -C "$TOOLS" clean OUT="$BATS_TEST_TMPDIR/out"
	[ -z "$(ls "$BATS_TEST_TMPDIR/out")" ]
}
