#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The commands of hugepoison-inject beside a single error, on a stock kernel and on ours:
#	make -C tools && scripts/vm -- bats tests/tool-guest.bats
# INJECT_TOOL=FILE runs another build of the tool. It poisons memory: to be run in a
# guest that is thrown away. The tests compare the tool's output with the kernel's files,
# which they read themselves.
# shellcheck disable=SC2030,SC2031,SC2154 # variables of each test; hold declares some
bats_require_minimum_version 1.5.0
load guest-helpers

BYTES_2M=$((2 << 20))
OURS=/sys/kernel/mm/hugepoison

setup()
{
	set_up_tool
	pid='' addr='' shmid='' pfns=()
}

teardown()
{
	let_go
}

is() { jq -es "$1" "$OUT" > /dev/null || { echo "not so: $1"; return 1; }; }
says() { grep -qF -- "$1" "$ERR"; }
ours() { [ -d $OURS ]; }

none_poisoned() { for pfn in "$@"; do run ! poisoned "$pfn"; done; }

# ends PID STATUS: this child of ours does, so
ends()
{
	local got=0

	wait "$1" || got=$?
	cat "$ERR"
	[ $got = "$2" ]
}

# ---- several errors in a call ----

@test "a range of a file: each raw page of it, no other" {
	hold "file:$FILE" 2M 2 2
	tool 0 inject --yes --file "$FILE" --offset $((BYTES_2M - 4096))-$((BYTES_2M + 4096))
	is "map(.hit.pfn) == [${pfns[0]} + 511, ${pfns[1]}] and all(.result == \"done\")"
	poisoned $((pfns[0] + 511))
	poisoned "${pfns[1]}"
}

@test "a range with a hole, or an end before its beginning: nothing is hit" {
	hold "file:$FILE" 2M 3 2
	tool 1 inject --yes --file "$FILE" --offset $((2 * BYTES_2M - 4096))-$((2 * BYTES_2M + 4096))
	says "has a hole there"
	tool 2 inject --yes --file "$FILE" --offset 8K-4K
	says "ends before it begins"
	tool 1 inject --yes --pfn 0-0x20000
	says "not in a hugepage"
	none_poisoned "${pfns[0]}" "${pfns[1]}" $((pfns[1] + 511))
}

@test "a range with --subpage: one of each hugepage; by pfn and by address as well" {
	hold anon 2M 2 2
	tool 0 inject --dry-run --pid "$pid" --addr "$addr-$((addr + 2 * BYTES_2M))" --subpage 7
	is "map(.hit.pfn) == [${pfns[0]} + 7, ${pfns[1]} + 7]"
	tool 0 inject --dry-run --pfn "${pfns[0]}-$((pfns[0] + 3))"
	is "map(.hit.subpage) == [0, 1, 2]"
	run -0 "$TOOL" inject --dry-run --pfn "${pfns[0]}-$((pfns[0] + 3))"
	[ "$(grep -c '^dry-run raw page 0x' <<< "$output")" = 3 ]
}

# bats test_tags=short
@test "--all-of: each hugepage of the process once, and only those" {
	hold "file:$FILE" 2M 2 2
	other=${pfns[0]}
	hold anon 2M 3 2
	tool 0 inject --yes --all-of "$pid" --subpage 3
	is "map(.hit.pfn) == [${pfns[0]} + 3, ${pfns[1]} + 3] and all(.result == \"done\")"
	none_poisoned "$other"
	hold plain 2M 1 1
	tool 1 inject --yes --all-of "$pid"
	says "maps no hugepage"
}

@test "--hugepage: by number" {
	hold "file:$FILE" 2M 3 3
	tool 0 inject --dry-run --file "$FILE" --hugepage 2 --subpage tail
	is ".[0].hit.pfn == ${pfns[2]} + 511 and .[0].target.hugepage == 2"
	tool 0 inject --dry-run --pid "$pid" --hugepage 1
	is ".[0].hit.pfn == ${pfns[1]}"
	tool 1 inject --yes --file "$FILE" --hugepage 3
	says "is beyond the end"
	tool 1 inject --yes --pid "$pid" --hugepage 3
	says "maps 3, from 0 on"
}

# bats test_tags=short
@test "--again: known already; --second: contained by ours, refused by stock" {
	hold "file:$FILE" 2M 1 1
	if ours; then
		tool 0 inject --yes --file "$FILE" --again --second
		is 'map(.repeat) == [null, "again", "second"] and all(.result == "done")'
		is ".[1].hit.pfn == ${pfns[0]} and .[2].hit.pfn == ${pfns[0]} + 1"
		is '.[2].counters | map(select(.name == "HardwareCorrupted"))[0] | .after - .before == 4'
	else
		tool 1 inject --yes --file "$FILE" --again --second
		is '.[2].result == "failed" and .[2].error.errno == "EHWPOISON"'
	fi
}

@test "--second: not where the hugepage is dissolved" {
	ours || skip "which hugepage it was a stock kernel tells another way"
	tool 1 inject --yes --free --size 2M --second
	says "is dissolved"
	is 'length == 1 and .[0].result == "done"'
}

# ---- states ----

# bats test_tags=short
@test "--state: shared, private, unfaulted, free, reserved, pinned" {
	hold private 2M 1 1
	tool 1 inject --yes --pid "$pid" --addr "$addr" --state shared
	says "--state shared: the hugepage at $(printf '0x%x' "${pfns[0]}") is private"
	tool 0 inject --dry-run --pid "$pid" --addr "$addr" --state private
	tool 1 inject --yes --pid "$pid" --addr "$addr" --state pinned
	says "has pinned nothing"
	none_poisoned "${pfns[0]}"
	hold memfd 2M 1 1
	tool 0 inject --dry-run --pid "$pid" --addr "$addr" --state shared
	tool 1 inject --yes --pid "$pid" --addr "$addr" --state unfaulted
	says "is mapped"
	hold memfd 2M 1 1 unmapped
	tool 0 inject --dry-run --pid "$pid" --addr "$addr" --state unfaulted
	tool 0 inject --dry-run --free --size 2M --state free
	tool 1 inject --yes --free --size 2M --state reserved
	says "not every free one is promised"
	tool 1 inject --yes --pfn "${pfns[0]}" --state free
	says "is shared"
	none_poisoned "${pfns[0]}"
}

# bats test_tags=short
@test "--state reserved: every free hugepage is promised" {
	free=$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages)
	hold anon 2M "$free" 0
	tool 0 inject --dry-run --free --size 2M --state reserved
}

# ---- ways ----

@test "soft-offline: the page is moved, nothing is lost" {
	hold "file:$FILE" 2M 1 1
	echo data | dd of="/proc/$pid/mem" bs=1 seek="$addr" conv=notrunc 2> /dev/null
	tool 0 inject --yes --file "$FILE" --via soft-offline
	is ".[0].via == \"soft-offline\" and .[0].result == \"done\" and .[0].hit.pfn == ${pfns[0]}"
	poisoned "${pfns[0]}"
	[ "$(dd if="/proc/$pid/mem" bs=1 skip="$addr" count=4 2> /dev/null)" = data ]
}

@test "soft-offline: switched off is 77" {
	[ -e /proc/sys/vm/enable_soft_offline ] || skip "no vm.enable_soft_offline"
	hold anon 2M 1 1
	sysctl -qw vm.enable_soft_offline=0
	tool 77 inject --yes --pid "$pid" --addr "$addr" --via soft-offline
	says "vm.enable_soft_offline=1"
	sysctl -qw vm.enable_soft_offline=1
	none_poisoned "${pfns[0]}"
}

# bats test_tags=short
@test "mce-inject: through the machine check code" {
	before=$(cat /sys/devices/system/machinecheck/machinecheck0/check_interval)
	hold anon 2M 1 1
	tool 0 inject --yes --pid "$pid" --addr $((addr + 5 * 4096)) --via mce-inject
	is ".[0].hit.pfn == ${pfns[0]} + 5 and .[0].result == \"done\""
	is '.[0].kernel_log | any(contains("recovery"))'
	poisoned $((pfns[0] + 5))
	[ "$(cat /sys/devices/system/machinecheck/machinecheck0/check_interval)" = "$before" ]
}

# ---- safety ----

# bats test_tags=short, stock
@test "without --yes: shown, not hit, 1" {
	hold "file:$FILE" 2M 1 1
	before=$(dmesg | grep -c 'Memory failure' || :)
	tool 1 inject --file "$FILE"
	says "say --yes"
	is ".[0].result == \"dry-run\" and .[0].hit.pfn == ${pfns[0]} and .[0].state == \"shared\""
	run -1 script -qec "$TOOL inject --file $FILE" /dev/null	# on a terminal
	[[ "$output" == *"would hit"*"say --yes"* ]]
	tool 1 soak --file "$FILE" --count 1
	says "say --yes"
	none_poisoned "${pfns[0]}"
	[ "$(dmesg | grep -c 'Memory failure')" = "$before" ]
}

NANOSLEEP='^(35|230) '	# and clock_nanosleep()

# inject_later ARGUMENT...: has looked when this returns, hits in some seconds
inject_later()
{
	"$TOOL" inject --yes "$@" --delay 10 > "$OUT" 2> "$ERR" 3>&- &
	injector=$!
	await "the injector's pause" grep -qE "$NANOSLEEP" "/proc/$injector/syscall"
}

@test "the process goes between the look and the hit: nothing is hit" {
	hold anon 2M 1 1
	inject_later --pid "$pid" --addr "$addr"
	kill "$pid"
	ends $injector 1
	says "nothing was hit"
	none_poisoned "${pfns[0]}"
}

@test "the pid is another process's between the look and the hit: nothing is hit" {
	hold anon 2M 1 1
	was=${pfns[0]}
	inject_later --pid "$pid" --addr "$addr"
	kill "$pid"
	wait "$pid" || true
	# clone3() with set_tid: a process with the same number, that maps hugepages as well
	python3 -c 'import ctypes, os, struct, sys
tid = ctypes.c_int(int(sys.argv[1]))
args = struct.pack("11Q", 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(tid), 1, 0)
if ctypes.CDLL(None).syscall(435, args, len(args)) == 0:
    os.execv(sys.argv[2], sys.argv[2:])
os.wait()' "$pid" "$BATS_TEST_DIRNAME/inject-holder" anon 2M 1 1 > "$OUT.other" 3>&- &
	while [ ! -s "$OUT.other" ]; do sleep 0.1; done
	grep -q "pid=$pid " "$OUT.other"
	ends $injector 1
	kill "$pid"
	says "nothing was hit"
	none_poisoned "$was" "$(sed 's/.*pfns=//' "$OUT.other")"
}

# bats test_tags=short
@test "the page migrates between the look and the hit: nothing is hit" {
	hold anon 2M 1 1
	tool 0 inject --dry-run --pid "$pid" --addr "$addr"
	node=$(jq .hit.node "$OUT")
	inject_later --pid "$pid" --addr "$addr"
	migratepages "$pid" "$node" $((1 - node))
	ends $injector 1
	says "the target moved"
	none_poisoned "${pfns[0]}"
}

# bats test_tags=short
@test "the file is truncated between the look and the hit: nothing is hit" {
	hold "file:$FILE" 2M 1 1
	inject_later --file "$FILE"
	truncate -s 0 "$FILE"
	ends $injector 1
	says "nothing was hit"
	none_poisoned "${pfns[0]}"
}

@test "a file's name with a newline stays on its line" {
	hold "file:$FILE" 2M 1 1
	name="$HUGE/a"$'\n'"result    done"
	mv "$FILE" "$name"
	run -0 "$TOOL" inject --dry-run --file "$name"
	[ "$(grep -c '^result' <<< "$output")" = 1 ]
	grep -qF 'a\012result' <<< "$output"
}

# ---- status, list, features ----

# bats test_tags=short, stock
@test "status: what the kernel says" {
	hold "file:$FILE" 2M 1 1
	tool 0 inject --yes --file "$FILE" --offset 4096
	for args in "" status; do
		# shellcheck disable=SC2086 # no word, or one
		tool 0 $args
		is ".[0].hardware_corrupted_kb == $(corrupted) and .[0].kernel == \"$(uname -r)\""
		is ".[0].counters | map(select(.name == \"free_hugepages\" and .size_kb == 2048 and .node == 1))[0].value == $(
			cat /sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages)"
		is '.[0].counters | map(select(.name == "poisoned_hugepages")) | any(.value > 0)'
	done
	if ours; then
		is '.[0].containment == "page" and .[0].replace != null'
		for node in 0 1; do
			is ".[0].counters | map(select(.name == \"narrowed\" and .size_kb == 2048 and .node == $node))[0].value == $(
				cat $OURS/node$node/hugepages-2048kB/narrowed)"
		done
	else
		is '.[0].containment == null and .[0].replace == null'
	fi
}

# bats test_tags=short, stock
@test "status --prometheus: the format, and the kernel's figures" {
	run -0 "$TOOL" status --prometheus
	# a sample is a name, labels, a number; each metric has one header, before its samples
	! grep -vE '^# (HELP|TYPE) hugepoison_|^hugepoison_[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [0-9]+$' <<< "$output" || false
	[ -z "$(grep '^# TYPE' <<< "$output" | sort | uniq -d)" ]
	grep -q "^hugepoison_hardware_corrupted_bytes $(($(corrupted) * 1024))$" <<< "$output"
	grep -q "^hugepoison_pool_hugepages{size=\"2M\",node=\"1\",state=\"total\"} $(
		cat /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages)$" <<< "$output"
	grep -q "^hugepoison_pool_reserved_hugepages{size=\"1G\"} 0$" <<< "$output"
	if ours; then
		grep -q '^hugepoison_containment{policy="page"} 1$' <<< "$output"
		grep -q "^hugepoison_events_total{size=\"2M\",node=\"0\",event=\"narrowed\"} $(
			cat $OURS/node0/hugepages-2048kB/narrowed)$" <<< "$output"
		grep -q "^hugepoison_bad_pages{size=\"2M\",node=\"0\"} $(
			cat $OURS/node0/hugepages-2048kB/mce_bad_pages)$" <<< "$output"
	fi
}

# bats test_tags=short, stock
@test "status --output: all at once, or the old one stays" {
	mkdir "$BATS_TEST_TMPDIR/d"
	echo old > "$BATS_TEST_TMPDIR/d/f.prom"
	"$TOOL" status --prometheus --output "$BATS_TEST_TMPDIR/d/f.prom"
	grep -q hugepoison_info "$BATS_TEST_TMPDIR/d/f.prom"
	[ "$(ls "$BATS_TEST_TMPDIR/d")" = f.prom ]
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/d/f.prom")" = 644 ]
	mkdir "$BATS_TEST_TMPDIR/full"
	mount -t tmpfs -o size=4k tmpfs "$BATS_TEST_TMPDIR/full"
	echo old > "$BATS_TEST_TMPDIR/full/f.prom"
	run -1 "$TOOL" status --prometheus --output "$BATS_TEST_TMPDIR/full/f.prom"
	[[ "$output" == *"No space left"* ]]
	[ "$(cat "$BATS_TEST_TMPDIR/full/f.prom")" = old ]
	[ "$(ls "$BATS_TEST_TMPDIR/full")" = f.prom ]
	umount "$BATS_TEST_TMPDIR/full"
	run -1 "$TOOL" status --output "$BATS_TEST_TMPDIR/none/f"
	[[ "$output" == *"cannot write beside"* ]]
}

# bats test_tags=short, stock
@test "list: raw pages, and whose they are" {
	hold shm 2M 1 1
	if ours; then
		tool 0 inject --yes --shmid "$shmid" --offset 20K-28K
	else
		tool 0 inject --yes --shmid "$shmid" --offset 20K
	fi
	tool 0 list
	if ours; then
		is ".[0].hugepages | any(.head_pfn == ${pfns[0]} and .raw == [5, 6] and .state == \"narrowed\" and
			.owner.kind == \"shm\" and .owner.shmid == $shmid and .owner.pids == [$pid])"
		run -0 "$TOOL" list
		frames=$(printf '0x%x-0x%x' $((pfns[0] + 5)) $((pfns[0] + 6)))
		grep -qE "^0x$(printf %x "${pfns[0]}") +2M +[01] +narrowed +$frames +shmid $shmid, pid $pid\$" <<< "$output"
		is ".[0].hugepages | any(.pfns == [${pfns[0]} + 5, ${pfns[0]} + 6])"
	else
		is ".[0].hugepages | any(.head_pfn == ${pfns[0]} and .state == \"poisoned\" and .raw == null)"
	fi
}

# bats test_tags=short, stock
@test "list: the owner of a file without root; 77 on stock" {
	chmod 1777 "$HUGE"
	hold "file:$FILE" 2M 2 2
	tool 0 inject --yes --file "$FILE" --offset $((BYTES_2M + 8192))
	chown 65534 "$FILE"
	got=0
	setpriv --reuid 65534 --clear-groups "$TOOL" list --json --file "$FILE" > "$OUT" 2> "$ERR" || got=$?
	cat "$OUT" "$ERR"
	if ours; then
		[ $got = 0 ]
		is ".[0].lost == [{\"offset\": $((BYTES_2M + 8192)), \"kb\": 4, \"state\": \"narrowed\"}]"
	else
		[ $got = 77 ]
		says "verify finds out"
	fi
}

# bats test_tags=stock
@test "features: what is there and what is not" {
	tool 0 features
	is '.[0].features | map(select(.available).name) | contains(["corrupt-pfn", "hard-offline", "soft-offline", "madvise", "mce-inject", "minor-faults"])'
	if ours; then
		is '.[0].features | all(.available and .why_not == null)'
	else
		is '.[0].features | map(select(.name == "hugepoison"))[0] | .available == false and (.why_not | contains("CONFIG_HUGEPOISON"))'
	fi
}

# shellcheck disable=SC2016 # nothing is to be expanded
@test "JSON: every key that is printed is documented" {
	hold "file:$FILE" 2M 3 3
	for args in status features list "list --file $FILE" "inject --file $FILE --yes" \
		    "inject --pid $pid --addr $addr --dry-run" "inject --free --dry-run" \
		    "verify --file $FILE" "soak --file $FILE --count 1 --dry-run" \
		    "soak --file $FILE --count 1 --yes --report $OUT.report"; do
		# shellcheck disable=SC2086 # words
		"$TOOL" $args --json >> "$OUT.all" || ! ours
	done
	jq -r '.. | objects | keys[]' "$OUT.all" "$OUT.report" | sort -u > "$OUT.keys"
	[ "$(wc -l < "$OUT.keys")" -gt 50 ]
	grep -oE '`"?[a-z_]+["`]' "$BATS_TEST_DIRNAME/../docs/inject-json.md" | tr -d '`"' | sort -u |
		comm -23 "$OUT.keys" - > "$OUT.undocumented"
	cat "$OUT.undocumented"
	[ ! -s "$OUT.undocumented" ]
}

# ---- verify ----

# bats test_tags=short, stock
@test "verify: a healthy file, and its holes stay holes" {
	hold "file:$FILE" 2M 3 2
	tool 0 verify --file "$FILE"
	is '.[0] | .result == "done" and .pages == 1024 and .healthy == 1024 and .raw == 0 and .holes == 1 and .signal == null'
	tool 0 verify --file "$FILE" --hugepage 1
	is '.[0].pages == 512'
	tool 0 verify --pid "$pid"
	is '.[0] | .pages == 1024 and .healthy == 1024 and .holes == 1'
	[ "$(stat -c %b "$FILE")" = $((2 * BYTES_2M / 512)) ]
	tool 1 verify --file "$FILE" --offset 1G
	says "beyond the end"
}

# bats test_tags=short, stock
@test "verify: after errors, each healthy page is there on ours, none on stock" {
	hold "file:$FILE" 2M 2 2
	tool 0 inject --yes --file "$FILE" --offset $((BYTES_2M + 8192))
	if ours; then
		tool 0 verify --file "$FILE"
		is '.[0] | .result == "done" and .healthy == 1023 and .raw == 1 and .healthy_lost == 0 and .raw_readable == 0'
		is '.[0].signal | .code == "BUS_MCEERR_AR" and .lsb == 12 and .addr % 2097152 == 8192'
		tool 0 verify --pid "$pid"
		is '.[0] | .healthy == 1023 and .raw == 1 and .raw_pages_told'
		echo hugepage > $OURS/containment
		tool 0 inject --yes --file "$FILE"
		echo page > $OURS/containment
		tool 0 verify --file "$FILE"
		is '.[0] | .healthy == 511 and .raw == 513'
		tool 0 verify --pid "$pid"
		is '.[0] | .healthy == 511 and .raw == 513'
	else
		tool 1 verify --file "$FILE"
		is '.[0] | .result == "failed" and .healthy == 512 and .healthy_lost == 512 and .raw_pages_told == false'
		is '.[0].signal | .code == "BUS_MCEERR_AR" and .lsb == 21'
	fi
}

# bats test_tags=short
@test "verify: a readable raw page is a failure" {
	ours || skip "a stock kernel does not tell which pages are raw"
	hold "file:$FILE" 2M 1 1
	tool 0 inject --yes --file "$FILE"
	# the kernel's list, as it would be if the page after it were raw
	awk -v pfn="${pfns[0]}" 'NR == 1 { print } NR > 1 && $1 == sprintf("0x%x", pfn) { $1 = sprintf("0x%x", pfn + 1); print }' \
		/proc/hugepoison/bad_pages > "$BATS_TEST_TMPDIR/bad"
	mount --bind "$BATS_TEST_TMPDIR/bad" /proc/hugepoison/bad_pages
	got=0
	tool 1 verify --pid "$pid" || got=$?
	umount /proc/hugepoison/bad_pages
	[ $got = 0 ]
	is '.[0] | .raw_readable == 1 and .healthy_lost == 1'
	says "can be read"
}

# ---- soak ----

# bats test_tags=short, stock
@test "soak: so many errors, each in another hugepage, and a report" {
	hold "file:$FILE" 2M 6 5
	before=$(corrupted)
	tool 0 soak --yes --file "$FILE" --count 3 --seed 1 --report "$OUT.report"
	is '.[0] | .result == "done" and .ended_by == "count" and .errors == 3 and .failed == 0 and .seed == 1'
	is ".[0].loss_kb == $(($(corrupted) - before))"
	[ "$(jq -s 'length' "$OUT.report")" = 4 ]
	for pfn in $(jq '.pfn // empty' "$OUT.report"); do
		poisoned "$pfn"
	done
	[ "$(jq '.head_pfn // empty' "$OUT.report" | sort -u | wc -l)" = 3 ]
	tool 1 soak --yes --file "$FILE" --count 4 --report "$OUT.report"
	says "--resume goes on"
	# the other two, and then none is left
	tool 1 soak --yes --file "$FILE" --count 9 --report "$OUT.report" --resume
	says "none of the target's 6 hugepages is left"
	is '.[0] | .errors == 5 and .ended_by == "error" and .seed == 1'
	[ "$(jq -s 'map(.n) | .[1:] == [1, 2, 3, 4, 5]' "$OUT.report")" = true ]
	tool 1 soak --yes --pid "$pid" --count 9 --report "$OUT.report" --resume
	says "none of a soak of this target"
}

@test "soak: the same seed takes the same pages" {
	hold "file:$FILE" 2M 4 4
	tool 0 soak --dry-run --file "$FILE" --count 3 --seed 7
	first=$(jq .first_pfn "$OUT")
	tool 0 soak --dry-run --file "$FILE" --count 3 --seed 7
	[ "$(jq .first_pfn "$OUT")" = "$first" ]
	tool 0 soak --yes --file "$FILE" --count 1 --seed 7 --report "$OUT.report"
	[ "$(jq '.pfn // empty' "$OUT.report")" = "$first" ]
}

@test "soak: --second goes on in hugepages with an error" {
	ours || skip "a stock kernel takes no second error"
	hold anon 2M 1 1
	tool 1 soak --yes --pid "$pid" --count 2
	hold "file:$FILE" 2M 1 1
	tool 0 soak --yes --file "$FILE" --count 4 --second
	is '.[0].errors == 4 and .[0].loss_kb == 16'
	tool 0 verify --file "$FILE"
	is '.[0].raw == 4 and .[0].healthy == 508'
}

@test "soak: stops at a loss, and after a time" {
	hold anon 2M 6 6
	tool 0 soak --yes --pid "$pid" --max-loss 8K
	is '.[0] | .ended_by == "max-loss" and .loss_kb >= 8'
	! ours || is '.[0].errors == 2'
	tool 0 soak --yes --pid "$pid" --duration 2 --rate 1
	is '.[0] | .ended_by == "duration" and .errors == 1 and .seconds >= 2'
}

lines_are() { [ -e "$2" ] && [ "$(wc -l < "$2")" = "$1" ]; }

@test "soak: a signal ends it cleanly, and it can be resumed" {
	hold anon 2M 4 4
	"$TOOL" soak --yes --pid "$pid" --count 3 --rate 1 --report "$OUT.report" --json > "$OUT" 2> "$ERR" 3>&- &
	soaker=$!
	await "the first error in the report" lines_are 2 "$OUT.report"
	kill -TERM $soaker
	ends $soaker 1
	says "stopped by SIGTERM; --resume goes on"
	is '.[0] | .ended_by == "signal" and .errors == 1'
	printf '{"n": 2, "pf' >> "$OUT.report"	# what a crash would leave
	tool 0 soak --yes --pid "$pid" --count 2 --report "$OUT.report" --resume
	[ "$(jq -s 'map(.n) | .[1:] == [1, 2]' "$OUT.report")" = true ]
}

@test "soak: no room for the report ends it" {
	hold anon 2M 2 2
	tool 1 soak --yes --pid "$pid" --count 1 --report /dev/full
	says "No space left"
	none_poisoned "${pfns[@]}"
	mkdir "$BATS_TEST_TMPDIR/full"
	mount -t tmpfs -o size=4k tmpfs "$BATS_TEST_TMPDIR/full"
	head -c 3900 /dev/zero > "$BATS_TEST_TMPDIR/full/pad"
	tool 1 soak --yes --pid "$pid" --count 1 --report "$BATS_TEST_TMPDIR/full/r"
	says "No space left"
	umount "$BATS_TEST_TMPDIR/full"
	none_poisoned "${pfns[@]}"
}

@test "soak: the process ends, the soak says so" {
	hold anon 2M 4 4
	"$TOOL" soak --yes --pid "$pid" --count 3 --rate 12 --json > "$OUT" 2> "$ERR" 3>&- &
	soaker=$!
	sleep 2
	kill "$pid"
	ends $soaker 1
	says "is gone"
	is '.[0].ended_by == "error" and .[0].errors < 3'
}

@test "soak: a live line of progress on a terminal, none elsewhere" {
	hold anon 2M 3 3
	run -0 script -qec "$TOOL soak --yes --pid $pid --count 2" /dev/null
	[[ "$output" == *"2 of 2 errors, 0 failed"* ]]
	"$TOOL" soak --yes --pid "$pid" --count 1 > "$OUT" 2> "$ERR"
	[ ! -s "$ERR" ]
}
