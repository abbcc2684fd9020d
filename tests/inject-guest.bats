#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# hugepoison-inject at work, on a stock kernel and on ours:
#	make -C tools && scripts/vm -- bats tests/inject-guest.bats
# INJECT_TOOL=FILE runs another build of the tool, as the one of "make sanitize".
# It poisons memory: to be run in a guest that is thrown away. The tests compare the tool's
# output with the kernel's files, which they read themselves.
# shellcheck disable=SC2030,SC2031 # each test has variables of its own, and should
bats_require_minimum_version 1.5.0
load guest-helpers

BYTES_2M=$((2 << 20))
INJECTOR=/sys/kernel/debug/hwpoison
REPLACE=/sys/kernel/mm/hugepoison/replace

setup()
{
	set_up_tool
	pid='' addr='' fd='' shmid='' pfns=()
	# the pool is to say what was lost
	[ ! -e $REPLACE ] || echo 0 > $REPLACE
}

teardown()
{
	let_go
	sysctl -qw vm.memory_failure_early_kill=0
	echo 0 > $INJECTOR/corrupt-filter-enable
}

inject() { tool "$1" inject --yes "${@:2}"; }
unpoison() { tool "$1" unpoison "${@:2}"; }

# says TEXT: there is this message, and no report
says()
{
	[ ! -s "$OUT" ]
	grep -qF -- "$1" "$ERR"
}

# refused TEXT ARGUMENT...: inject fails with this message, and reports nothing
refused() { inject 1 "${@:2}" && says "$1"; }
unpoison_refused() { unpoison 1 "${@:2}" && says "$1"; }

# is JQ-EXPRESSION: the report says so
is() { jq -e "$1" "$OUT" > /dev/null || { echo "not so: $1"; return 1; }; }

# counter NAME NODE before|after: what the report says
counter() { jq ".counters[] | select(.name == \"$1\" and .node == $2) | .$3" "$OUT"; }

# pool NODE COUNTER: what the kernel says, 2M
pool() { cat "/sys/devices/system/node/node$1/hugepages/hugepages-2048kB/$2"; }
reserved() { cat /sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages; }

# All that an injection, or a careless look, could change.
state()
{
	corrupted
	cat /sys/kernel/mm/hugepages/*/{nr,free,resv,surplus}_hugepages
	cat /sys/devices/system/node/node*/hugepages/*/{nr,free,surplus}_hugepages
	stat -c '%s %b' "$HUGE"/* 2> /dev/null
	ipcs -m | awk '{ print $2, $6 }'
	dmesg | grep -cE 'Memory failure|hugepoison:|Unpoison'
}

ours() { [ -d /sys/kernel/mm/hugepoison ]; }

# hits PFN: the report and the kernel agree that this raw page was hit
hits()
{
	is ".result == \"done\" and .error == null and .hit.pfn == $1"
	is ".hit.pfn == .hit.head_pfn + .hit.subpage and .hit.hugepage"
	poisoned "$1"
	is ".kernel_log | any(startswith(\"Memory failure: $(printf '0x%x' "$1"): recovery\"))"
	dmesg | tail -n 5 | grep -qF "$(jq -r '.kernel_log[-1]' "$OUT")"
}

# ---- the page that the target names ----

# bats test_tags=short
@test "file: the page at the offset" {
	hold "file:$FILE" 2M 3 2
	inject 0 --file "$FILE" --offset $((BYTES_2M + 5 * 4096 + 17))
	hits $((pfns[1] + 5))
	is ".hit.subpage == 5 and .hit.pages == 512 and .hit.size_kb == 2048 and .hit.head_pfn == ${pfns[1]}"
	is ".via == \"corrupt-pfn\" and .action_required == false and .signal == null"
}

# bats test_tags=short
@test "file: offset in K, M and hexadecimal" {
	hold "file:$FILE" 2M 2 2
	inject 0 --dry-run --file "$FILE" --offset 2M
	is ".hit.pfn == ${pfns[1]}"
	inject 0 --dry-run --file "$FILE" --offset 2052K
	is ".hit.pfn == ${pfns[1]} + 1"
	inject 0 --dry-run --file "$FILE" --offset 0x1ff000
	is ".hit.pfn == ${pfns[0]} + 511"
	inject 0 --dry-run --file "$FILE"
	is ".hit.pfn == ${pfns[0]}"
}

# bats test_tags=short
@test "file: nobody maps it" {
	hold "file:$FILE" 2M 1 1
	kill "$pid"
	inject 0 --file "$FILE" --offset 4096
	hits $((pfns[0] + 1))
}

# bats test_tags=short
@test "file: 1G" {
	hold "file:$HUGE-1G/a" 1G 1 1
	inject 0 --dry-run --file "$HUGE-1G/a" --offset 513M
	is ".hit.pfn == ${pfns[0]} + $((513 << 8)) and .hit.pages == 262144 and .hit.size_kb == 1048576"
	rm "$HUGE-1G/a"
}

@test "memfd: by /proc/PID/fd" {
	hold memfd 2M 2 1
	inject 0 --file "/proc/$pid/fd/$fd" --offset 12K
	hits $((pfns[0] + 3))
}

@test "pid: anonymous shared memory" {
	hold anon 2M 2 2
	inject 0 --pid "$pid" --addr $((addr + BYTES_2M + 7 * 4096 + 1))
	hits $((pfns[1] + 7))
}

@test "pid: private memory" {
	hold private 2M 1 1
	inject 0 --pid "$pid" --addr "$(printf '0x%x' $((addr + 511 * 4096)))"
	hits $((pfns[0] + 511))
}

@test "pid: a page that the file has and the process has not touched" {
	hold memfd 2M 2 2 unmapped
	inject 0 --pid "$pid" --addr $((addr + BYTES_2M + 4096))
	hits $((pfns[1] + 1))
}

@test "shm: the page at the offset, and no attachment is left" {
	hold shm 2M 2 2
	inject 0 --shmid "$shmid" --offset $((BYTES_2M + 3 * 4096))
	hits $((pfns[1] + 3))
	# the holder's own: one for each part that narrowing made of it
	[ "$(ipcs -m | awk -v id="$shmid" '$2 == id { print $6 }')" = "$(grep -c SYSV "/proc/$pid/maps")" ]
}

@test "pfn: that very page" {
	hold anon 2M 1 1
	inject 0 --pfn "$(printf '0x%x' $((pfns[0] + 300)))"
	hits $((pfns[0] + 300))
}

@test "subpage: head, tail, index, random; one too many is refused" {
	hold anon 2M 1 1
	target=(--dry-run --pid "$pid" --addr $((addr + 4096)))
	inject 0 "${target[@]}" --subpage head
	is ".hit.pfn == ${pfns[0]}"
	inject 0 "${target[@]}" --subpage tail
	is ".hit.pfn == ${pfns[0]} + 511"
	inject 0 "${target[@]}" --subpage 511
	is ".hit.pfn == ${pfns[0]} + 511"
	inject 0 "${target[@]}" --subpage random
	is ".hit.head_pfn == ${pfns[0]} and .hit.subpage < 512"
	inject 2 "${target[@]}" --subpage 512
	grep -qF "has raw pages 0 to 511" "$ERR"
	inject 0 --pfn "${pfns[0]}" --subpage tail
	hits $((pfns[0] + 511))
}

# ---- what must not happen ----

@test "dry run: changes nothing, whatever the target" {
	hold "file:$FILE" 2M 3 1
	hold shm 2M 2 1
	hold memfd 2M 2 1 unmapped
	state > "$OUT.before"
	inject 0 --dry-run --file "$FILE"
	is '.result == "dry-run" and .kernel_log == [] and all(.counters[]; .after == null)'
	inject 0 --dry-run --shmid "$shmid" --via madvise
	inject 0 --dry-run --pid "$pid" --addr "$addr" --via hard-offline
	inject 0 --dry-run --pfn "${pfns[0]}"
	inject 0 --dry-run --free --size 2M --node 1
	inject 0 --dry-run --free --size 1G --via corrupt-pfn
	state | diff "$OUT.before" -
	for pfn in "${pfns[@]}"; do
		run ! poisoned "$pfn"
	done
}

@test "a hole is refused: nothing is allocated, nothing reserved" {
	hold "file:$FILE" 2M 3 1
	hold memfd 2M 2 1 unmapped
	hole=$((addr + BYTES_2M))
	hold shm 2M 3 1
	truncate -s 8M "$HUGE/empty"
	state > "$OUT.before"
	refused "has a hole there" --file "$FILE" --offset 2M
	refused "has a hole there" --file "$HUGE/empty" --offset 6M
	refused "has a hole there" --file "$HUGE/empty" --via madvise
	refused "has a hole there" --shmid "$shmid" --offset 4M
	refused "has a hole there" --pid "${holders[1]}" --addr $hole
	state | diff "$OUT.before" -
}

@test "the end of the file and of the segment are refused" {
	hold "file:$FILE" 2M 1 1
	refused "is beyond the end" --file "$FILE" --offset 2M
	hold shm 2M 1 1
	refused "is beyond the end" --shmid "$shmid" --offset 2M
	[ "$(stat -c %s "$FILE")" = $BYTES_2M ]
}

@test "private memory not touched yet is refused" {
	hold private 2M 2 1
	refused "must touch the address first" --pid "$pid" --addr $((addr + BYTES_2M))
}

@test "a file sealed against writing is refused, with what to use instead" {
	python3 -c 'import fcntl, mmap, os, time
fd = os.memfd_create("sealed", 4 | 2 | 21 << 26)
os.ftruncate(fd, 2 << 20)
m = mmap.mmap(fd, 2 << 20); m[0] = 1; m.close()
fcntl.fcntl(fd, 1033, 8)
print(fd, flush=True); time.sleep(60)' > "$OUT.fd" 3>&- &
	holders+=("$!")
	while [ ! -s "$OUT.fd" ]; do sleep 0.1; done
	refused "--pfn" --file "/proc/$!/fd/$(cat "$OUT.fd")"
}

@test "a page in no hugepage: refused, and hit only with --any-page" {
	hold plain 2M 1 1
	refused "is not in a hugepage: add --any-page" --pid "$pid" --addr "$addr"
	refused "is not in a hugepage: add --any-page" --pfn "${pfns[0]}"
	run ! poisoned "${pfns[0]}"
	inject 0 --pid "$pid" --addr "$addr" --any-page
	is ".hit.pfn == ${pfns[0]} and .hit.hugepage == false and .hit.pages == 1 and .result == \"done\""
	poisoned "${pfns[0]}"
}

@test "without debugfs: refused; hard-offline goes on working" {
	hold anon 2M 1 1
	umount "${INJECTOR%/*}"
	refused "debugfs is not mounted" --pid "$pid" --addr "$addr"
	run ! poisoned "${pfns[0]}"
	inject 0 --pid "$pid" --addr "$addr" --via hard-offline
	mount -t debugfs debugfs "${INJECTOR%/*}"
	hits "${pfns[0]}"
}

@test "debugfs mounted elsewhere is found" {
	hold anon 2M 1 1
	umount "${INJECTOR%/*}"
	mkdir -p "$BATS_TEST_TMPDIR/debug"
	mount -t debugfs debugfs "$BATS_TEST_TMPDIR/debug"
	inject 0 --dry-run --pid "$pid" --addr "$addr"
	umount "$BATS_TEST_TMPDIR/debug"
	mount -t debugfs debugfs "${INJECTOR%/*}"
}

# ---- free hugepages ----

# bats test_tags=short
@test "free: on the node asked for, the raw page asked for" {
	for node in 0 1; do
		free=$(pool $node free_hugepages)
		inject 0 --free --size 2M --node $node --subpage 5
		is ".hit.node == $node and .hit.subpage == 5 and .hit.head_pfn % 512 == 0"
		hits "$(jq .hit.pfn "$OUT")"
		is '.kernel_log | any(contains("free huge page"))'
		[ "$(pool $node free_hugepages)" = $((free - 1)) ]
		[ "$(counter free_hugepages $node before)" = "$free" ]
		[ "$(counter free_hugepages $node after)" = $((free - 1)) ]
	done
}

# bats test_tags=short
@test "free: the kernel's own injector is preferred where there is one" {
	inject 0 --free --size 2M
	if [ -e $INJECTOR/corrupt-free-hugepage ]; then
		is '.via == "corrupt-free-hugepage"'
	else
		is '.via == "corrupt-pfn"'
	fi
	hits "$(jq .hit.pfn "$OUT")"
	is '.hit.subpage == 0'
}

# bats test_tags=short
@test "free: by our own choice, through either file" {
	for way in corrupt-pfn hard-offline; do
		inject 0 --free --size 2M --node 1 --via $way --subpage tail
		is ".via == \"$way\" and .hit.subpage == 511 and .hit.node == 1"
		hits "$(jq .hit.pfn "$OUT")"
	done
}

# bats test_tags=short
@test "free: 1G" {
	inject 0 --free --size 1G --node 1 --subpage random
	is '.hit.size_kb == 1048576 and .hit.pages == 262144 and .hit.node == 1'
	hits "$(jq .hit.pfn "$OUT")"
	refused "no free 1G hugepage on node 1: echo N > /sys" --free --size 1G --node 1
}

# bats test_tags=short
@test "free: a file's hugepage that nobody maps is not free" {
	free=$(pool 0 free_hugepages)
	numactl --membind=0 fallocate -l $((free * BYTES_2M)) "$FILE"
	hold "file:$FILE" 2M "$free" "$free"
	kill "$pid"
	wait "$pid" || true
	[ "$(pool 0 free_hugepages)" = 0 ]
	# Free the last one that a scan comes upon: all the others are in the file.
	last=0
	for ((i = 1; i < free; i++)); do
		[ "${pfns[i]}" -lt "${pfns[last]}" ] || last=$i
	done
	fallocate -p -o $((last * BYTES_2M)) -l $BYTES_2M "$FILE"
	[ "$(pool 0 free_hugepages)" = 1 ]
	head=${pfns[last]}
	inject 0 --dry-run --free --size 2M --node 0 --via corrupt-pfn
	is ".hit.head_pfn == $head"
	inject 0 --free --size 2M --node 0 --via corrupt-pfn
	hits "$head"
	refused "no free 2M hugepage on node 0" --free --size 2M --node 0
}

# ---- what the ways do ----

@test "hard-offline takes the same page by its address" {
	hold anon 2M 1 1
	inject 0 --pid "$pid" --addr $((addr + 9 * 4096)) --via hard-offline
	hits $((pfns[0] + 9))
	is '.via == "hard-offline" and .action_required == false and .signal == null'
}

@test "madvise: the tool itself gets the SIGBUS, and says so" {
	hold "file:$FILE" 2M 2 2
	inject 0 --file "$FILE" --offset $((BYTES_2M + 6 * 4096)) --via madvise
	hits $((pfns[1] + 6))
	is '.action_required and .signal.name == "SIGBUS" and .signal.code == "BUS_MCEERR_AR"'
	is '.signal.addr % 2097152 == 6 * 4096 and (.signal.lsb == 21 or .signal.lsb == 12)'
	hold shm 2M 1 1
	inject 0 --shmid "$shmid" --subpage tail --via madvise
	hits $((pfns[0] + 511))
	is '.signal.code == "BUS_MCEERR_AR" and .signal.addr % 2097152 == 511 * 4096'
}

# bats test_tags=short
@test "a mapper that asked for early kill gets the signal; the tool does not" {
	# prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY)
	python3 -c 'import ctypes, mmap, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGBUS])
ctypes.CDLL(None).prctl(33, 1, 1, 0, 0)
m = mmap.mmap(-1, 2 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x40000)
m[0] = 1
print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)
print(signal.sigwaitinfo([signal.SIGBUS]).si_code, flush=True)' > "$OUT.early" 3>&- &
	mapper=$!
	holders+=("$mapper")
	while [ ! -s "$OUT.early" ]; do sleep 0.1; done
	inject 0 --pid $mapper --addr "$(cat "$OUT.early")"
	is '.signal == null and .result == "done"'
	await "BUS_MCEERR_AO" grep -qx 5 "$OUT.early"
}

@test "the tool is no mapper of what it hits: early kill for all spares it" {
	sysctl -qw vm.memory_failure_early_kill=1
	hold "file:$FILE" 2M 1 1
	inject 0 --file "$FILE"
	hits "${pfns[0]}"
	run -135 wait "$pid"	# SIGBUS
	hold shm 2M 1 1
	inject 0 --shmid "$shmid"
	hits "${pfns[0]}"
	run -135 wait "$pid"
}

@test "a page poisoned before: reported, and the kernel's answer is named" {
	hold anon 2M 1 1
	inject 0 --pid "$pid" --addr "$addr"
	is '.hit.poisoned_before == false'
	inject 1 --pfn "${pfns[0]}"
	is '.hit.poisoned_before and .result == "failed" and (.error.errno == "EHWPOISON" or .error.errno == "EBUSY")'
	grep -qE 'EHWPOISON|EBUSY' "$ERR"
}

@test "a filter that excludes the page: failed, and not called done" {
	hold anon 2M 1 1
	echo 0xffffffff > $INJECTOR/corrupt-filter-flags-mask
	echo 0xffffffff > $INJECTOR/corrupt-filter-flags-value
	echo 1 > $INJECTOR/corrupt-filter-enable
	inject 1 --pid "$pid" --addr "$addr"
	is '.result == "failed" and (.error.message | contains("corrupt-filter"))'
	run ! poisoned "${pfns[0]}"
}

# ---- taking it back ----

# bats test_tags=short
@test "unpoison: a free hugepage's raw page comes back" {
	bad=$(corrupted)
	inject 0 --free --size 2M --node 1 --subpage 8 --via corrupt-pfn
	pfn=$(jq .hit.pfn "$OUT")
	[ "$(corrupted)" = $((bad + 4)) ]
	unpoison_refused "is not in a hugepage (any more" --pfn "$pfn"
	unpoison 0 --pfn "$pfn" --any-page --dry-run
	poisoned "$pfn"
	unpoison 0 --pfn "$pfn" --any-page
	is '.action == "unpoison" and .result == "done" and .via == "unpoison-pfn"'
	run ! poisoned "$pfn"
	[ "$(corrupted)" = "$bad" ]
	unpoison_refused "is not poisoned: there is nothing to take back" --pfn "$pfn" --any-page
}

# bats test_tags=short
@test "unpoison: a healthy target is refused" {
	hold "file:$FILE" 2M 1 1
	state > "$OUT.before"
	unpoison_refused "is not poisoned" --file "$FILE"
	unpoison_refused "is not poisoned" --pid "$pid" --addr "$addr"
	state | diff "$OUT.before" -
}

# bats test_tags=short
@test "unpoison: a file's poisoned hugepage is found by its file, or the candidates are named" {
	hold "file:$FILE" 2M 1 1
	inject 0 --file "$FILE" --offset 4096
	if [ -e $REPLACE ]; then
		unpoison 0 --file "$FILE" --offset 4096
		is ".hit.head_pfn == ${pfns[0]} and .hit.subpage == 1 and .result == \"done\""
		unpoison_refused "is not poisoned" --file "$FILE"
		return
	fi
	# Stock does not unpoison a hugepage while a file has it: EBUSY.
	unpoison 1 --file "$FILE" --offset 4096
	if [ -s "$OUT" ]; then
		is ".hit.head_pfn == ${pfns[0]} and .hit.subpage == 1 and .error.errno == \"EBUSY\""
		is '.kernel_log | length > 0'
	else
		# Earlier tests left other poisoned hugepages, as a stock kernel does.
		grep -qF "there are several poisoned 2M hugepages" "$ERR"
	fi
	unpoison 1 --pfn "${pfns[0]}"
	is '.error.errno == "EBUSY" and .result == "failed"'
	poisoned "${pfns[0]}"
}

# ---- the report ----

@test "counters: what the kernel says, before and after" {
	hold anon 2M 2 1
	bad=$(corrupted) nr=$(pool 0 nr_hugepages) resv=$(reserved)
	inject 0 --pid "$pid" --addr "$addr"
	[ "$(counter HardwareCorrupted null before)" = "$bad" ]
	[ "$(counter HardwareCorrupted null after)" = "$(corrupted)" ]
	[ "$(corrupted)" -gt "$bad" ]
	[ "$(counter nr_hugepages 0 before)" = "$nr" ]
	[ "$(counter nr_hugepages 0 after)" = "$(pool 0 nr_hugepages)" ]
	[ "$(counter resv_hugepages null before)" = "$resv" ]
	[ "$(counter resv_hugepages null after)" = "$(reserved)" ]
	[ "$(counter KPF_HWPOISON null before)" = 0 ]
	[ "$(counter KPF_HWPOISON null after)" -ge 1 ]
	if ours; then
		node=$(jq .hit.node "$OUT")
		[ "$(counter mce_bad_pages "$node" after)" = "$(
			cat /sys/kernel/mm/hugepoison/node"$node"/hugepages-2048kB/mce_bad_pages)" ]
	fi
}

@test "table and JSON agree" {
	hold anon 2M 2 2
	inject 0 --dry-run --pid "$pid" --addr "$addr"
	run -0 "$TOOL" inject --dry-run --pid "$pid" --addr "$addr"
	grep -qF "raw page $(printf '0x%x' "${pfns[0]}"), index 0 of 512, of the 2M hugepage" <<< "$output"
	grep -qE "^HardwareCorrupted +kB +$(counter HardwareCorrupted null before)\$" <<< "$output"
	run -0 "$TOOL" inject --yes --pid "$pid" --addr "$addr"
	echo "$output"
	grep -qE '^result +done$' <<< "$output"
	grep -qE '^KPF_HWPOISON +pages +0 +-> +[0-9]+ +\(\+[0-9]+\)$' <<< "$output"
	grep -qF "Memory failure: $(printf '0x%x' "${pfns[0]}"): recovery action" <<< "$output"
}

# bats test_tags=short
@test "JSON: every documented key, for an odd file name too" {
	name="$HUGE/a \"b\\
c"
	hold "file:$FILE" 2M 1 1
	mv "$FILE" "$name"
	inject 0 --dry-run --file "$name"
	[ "$(jq -r .target.file "$OUT")" = "$name" ]
	is '(keys - ["tool", "action", "result", "error", "target", "via", "action_required", "hit",
		"signal", "counters", "kernel_log", "log_complete", "repeat", "state"]) == [] and (keys | length) == 14'
}

@test "a full or closed standard output is an error" {
	hold anon 2M 1 1
	for out in '> /dev/full' '>&-'; do
		run -1 bash -c "\"$TOOL\" inject --dry-run --json --pid $pid --addr $addr $out"
		[[ "$output" == *"cannot write the report"* ]]
	done
}
