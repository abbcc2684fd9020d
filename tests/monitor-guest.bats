#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# hugepoisonctl monitor and the report of inject, with real errors:
#	make tools && scripts/vm --one-thread -- bats tests/monitor-guest.bats
# Each monitor switches tracepoints, so the kernel patches its code all the time.
# It poisons memory: to be run in a guest that is thrown away.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154 # variables of each test; hold declares some
bats_require_minimum_version 1.5.0
load guest-helpers

TRACING=/sys/kernel/tracing

setup()
{
	set_up_tool
	pid='' addr='' shmid='' pfns=()
	monitor='' flood=()
}

teardown()
{
	[ ${#flood[@]} = 0 ] || kill "${flood[@]}" 2> /dev/null || true
	[ -z "$monitor" ] || kill "$monitor" 2> /dev/null || true
	let_go
}

ours() { [ -d /sys/kernel/mm/hugepoison ]; }
instances() { find $TRACING/instances -mindepth 1 -maxdepth 1 -name 'hugepoison-*' | wc -l; }
frame() { printf '0x%x' "$1"; }

# listen ARGUMENT...: a monitor whose lines come to $OUT.events, when it listens
listen()
{
	local event=ras/memory_failure_event

	! ours || event=hugepoison/hugepoison_refill
	"$TOOL" monitor "$@" > "$OUT.events" 2> "$ERR.events" 3>&- &
	monitor=$!
	for _ in {1..100}; do
		[ "$(cat $TRACING/instances/hugepoison-monitor-$monitor/events/$event/enable 2> /dev/null)" = 1 ] && return
		sleep 0.1
	done
	cat "$ERR.events"
	return 1
}

# told SECONDS FILTER: an event like that comes in time
told()
{
	local i

	for ((i = 0; i < $1 * 20; i++)); do
		jq -es "any($2)" "$OUT.events" > /dev/null 2>&1 && return
		sleep 0.05
	done
	echo "not told: $2"
	cat "$OUT.events" "$ERR.events"
	return 1
}

# ended STATUS: the monitor, with nothing left
ended()
{
	local got=0

	wait "$monitor" || got=$?
	monitor=
	cat "$ERR.events"
	[ $got = "$1" ]
	[ "$(instances)" = 0 ]
}

@test "an error is reported within a second: page frame, node, owner, state; it was injected" {
	ours || skip "a stock kernel has neither owner nor state"
	hold "file:$FILE" 2M 1 1
	listen --json
	tool 0 inject --yes --file "$FILE" --offset 20K
	told 1 ".event == \"contain\" and .pfn == ${pfns[0]} + 5 and .size_kb == 2048 and .outcome == \"narrowed\"
		and .state == \"narrowed\" and .owner.path == \"/${FILE##*/}\" and .injected and .time != null"
	jq -es 'all(.event != "narrow" and .event != "page")' "$OUT.events"
	# the clock of the trace is the wall's
	when=$(jq -rs 'map(select(.event == "contain"))[0].time' "$OUT.events")
	[ $(($(date +%s) - $(date -d "$when" +%s))) -le 30 ]
	kill "$monitor"
	ended 0
}

@test "later steps are reported: the fresh hugepage, healing, release" {
	ours || skip "nothing follows on stock"
	listen --json
	tool 0 inject --yes --free --size 2M --node 1
	told 1 '.event == "contain" and .outcome == "replaced" and .node == 1 and .injected'
	# events that follow wait up to a second for the next look at the list
	told 2 '.event == "replace" and .outcome == "replaced"'
	hold "file:$FILE" 2M 1 1
	tool 0 inject --yes --file "$FILE" --offset 4K
	fallocate --punch-hole --keep-size --offset 4K --length 4K "$FILE"
	told 2 ".event == \"heal\" and .outcome == \"healed\" and .pfn == ${pfns[0]} + 1"
	told 3 ".event == \"release\" and .outcome == \"released\" and .pfn == ${pfns[0]}"
	kill -INT "$monitor"
	ended 0
}

@test "each of many errors is reported" {
	hold "file:$FILE" 2M 8 8
	listen --json
	"$TOOL" soak --file "$FILE" --count 8 --seed 3 --yes --json --report "$OUT.soak" > "$OUT"
	told 3 "length > 0"
	for _ in {1..60}; do
		[ "$(jq -s 'map(select(.event == "contain" or .event == "page")) | length' "$OUT.events")" -ge 8 ] && break
		sleep 0.05
	done
	jq -rs 'map(.pfn // empty) | sort | .[]' "$OUT.soak" > "$OUT.hit"
	[ "$(wc -l < "$OUT.hit")" = 8 ]
	jq -rs 'map(select(.event == "contain" or .event == "page").pfn) | sort | .[]' "$OUT.events" | diff "$OUT.hit" -
	kill -HUP "$monitor"
	ended 0
}

@test "--mappings: each mapping that keeps the healthy pages" {
	ours || skip "stock narrows nothing"
	hold "file:$FILE" 2M 1 1
	listen --json --mappings
	tool 0 inject --yes --file "$FILE" --offset 4K
	told 3 ".event == \"narrow\" and .outcome == \"narrowed\" and .pfn == ${pfns[0]}"
	kill "$monitor"
	ended 0
}

@test "--count ends it; two at a time do not disturb each other; one that was killed leaves nothing for long" {
	listen --json
	kill -KILL "$monitor"
	wait "$monitor" || true
	[ "$(instances)" = 1 ]
	listen --json --count 1
	[ "$(instances)" = 1 ]
	first=$monitor
	mv "$OUT.events" "$OUT.first"
	listen --json --count 1
	[ "$(instances)" = 2 ]
	hold "file:$FILE" 2M 1 1
	tool 0 inject --yes --file "$FILE"
	wait "$first"
	ended 0
	[ "$(wc -l < "$OUT.first")" = 1 ]
	[ "$(wc -l < "$OUT.events")" = 1 ]
}

@test "nobody reads: the monitor ends, and says so" {
	mkfifo "$OUT.fifo"
	"$TOOL" monitor --json > "$OUT.fifo" 2> "$ERR.events" 3>&- &
	monitor=$!
	read -r -t 2 < "$OUT.fifo" || true
	hold "file:$FILE" 2M 1 1
	tool 0 inject --yes --file "$FILE"
	ended 1
	grep -q "cannot write the report" "$ERR.events"
}

@test "tracefs not mounted: debugfs has it, else it is said" {
	# shellcheck disable=SC2016 # the inner shell expands it
	run -1 unshare --mount sh -c 'umount $1; umount /sys/kernel/debug; exec "$2" monitor' sh $TRACING "$TOOL"
	[[ $output == *"mount -t tracefs none /sys/kernel/tracing"* ]]
}

@test "an error in no hugepage is reported as well, with the page's kind" {
	hold plain 2M 1 1
	listen --json
	pfn=$("$TOOL" inject --dry-run --pid "$pid" --addr "$addr" --any-page --json | jq .hit.pfn)
	"$TOOL" inject --yes --pid "$pid" --addr "$addr" --any-page --json > "$OUT" || true
	told 1 ".event == \"page\" and .pfn == $pfn and .size_kb == 4 and (.type | contains(\"page\")) and .injected"
	kill "$monitor"
	ended 0
}

@test "a trigger runs within a second, with the page frame in its environment" {
	ours || skip "the same on stock, but for the event's name"
	mkdir -m 755 "$BATS_TEST_TMPDIR/triggers.d"
	chown 0:0 "$BATS_TEST_TMPDIR/triggers.d"
	printf '#!/bin/sh\necho $HUGEPOISON_EVENT $HUGEPOISON_PFN >> %s\n' "$OUT.ran" > "$BATS_TEST_TMPDIR/triggers.d/10-test"
	chmod 755 "$BATS_TEST_TMPDIR/triggers.d/10-test"
	hold "file:$FILE" 2M 1 1
	listen --triggers "$BATS_TEST_TMPDIR/triggers.d"
	tool 0 inject --yes --file "$FILE" --offset 8K
	for _ in {1..20}; do
		grep -qx "contain $(frame $((pfns[0] + 2)))" "$OUT.ran" && break
		sleep 0.05
	done
	grep -qx "contain $(frame $((pfns[0] + 2)))" "$OUT.ran"
	kill "$monitor"
	ended 0
}

@test "the report of inject has the kernel's line, which a worker writes later" {
	ours || skip "stock says all at once"
	hold "file:$FILE" 2M 1 1
	tool 0 inject --yes --file "$FILE" --offset 12K
	jq -es ".[0].kernel_log | any(startswith(\"hugepoison: $(frame $((pfns[0] + 3))): 2048 kB hugepage\"))" "$OUT"
	tool 0 inject --yes --free --size 2M
	jq -es '.[0].kernel_log | any(startswith("hugepoison: 0x"))' "$OUT"
}

@test "the kernel's log has the texts that the guide calls stable, for what the tests above did" {
	ours || skip "stock has none of them"
	guide=$BATS_TEST_DIRNAME/../Documentation/admin-guide/mm/hugepoison.rst
	outcomes=$(sed -n '/^OUTCOME is/,/^Other messages/s/^[a-z]*  *\([^=].*\)/\1/p' "$guide" | paste -sd '|')
	sed -n '/^The kernel log$/,/^OUTCOME is/s/^    //p' "$guide" |
		sed "s/<PFN>/0x[0-9a-f]+/g; s/<N>/[0-9]+/g; s/<REASON>/.+/; s/<OUTCOME>/($outcomes)/" > "$OUT.texts"
	dmesg | sed 's/^\[[^]]*\] //' | grep '^hugepoison: ' | sort -u > "$OUT.said"
	# no other message came about these errors
	grep -vxEf "$OUT.texts" "$OUT.said" > "$OUT.other" || true
	cat "$OUT.other"
	[ ! -s "$OUT.other" ]
	for outcome in 'narrowed, its healthy pages stay' 'was free, replaced' 'healed, good memory' 'without users'; do
		grep -qE "^hugepoison: 0x[0-9a-f]+: 2048 kB hugepage on node [01]: $outcome" "$OUT.said" ||
			{ echo "nothing was $outcome"; cat "$OUT.said"; return 1; }
	done
}

# After the test of the texts, which needs all that the log has
@test "the kernel's log is flooded: an error is reported and remembered, and a signal ends the monitor" {
	hold "file:$FILE" 2M 1 1
	listen --json --remember
	for _ in 1 2; do
		python3 -c 'import os
log = os.open("/dev/kmsg", os.O_WRONLY)
while True:
    os.write(log, b"<7>flood")' 3>&- &
		flood+=($!)
	done
	sleep 1
	tool 0 inject --yes --file "$FILE" --offset 20K
	# one second for the look before, one for the log
	told 5 "(.event == \"contain\" or .event == \"page\") and .outcome != \"failed\""
	kill "$monitor"
	ended 0
	kill "${flood[@]}"
}
