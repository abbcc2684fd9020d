#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# hugepoisonctl remember on a machine of files: what is written, and what of it is taken out
# of use after a reboot. A reboot here is: no marks, no list of the kernel's, no notes in
# /run. Run as root.
# shellcheck disable=SC2016,SC2153,SC2154 # mock.bash declares some
bats_require_minimum_version 1.5.0
load mock

BUDDY=$((1 << 10)) HUGEPAGE=$((1 << 17)) POISONED=$((1 << 19)) NO_PAGE=$((1 << 20))

setup_file()
{
	make -s -C "$BATS_TEST_DIRNAME/../tools" all sanitize
	gcc -O1 -Wall -Wextra -Werror -shared -fPIC -o "$BATS_FILE_TMPDIR/offline.so" \
		"$BATS_TEST_DIRNAME/offline-preload.c"
	gcc -O1 -Wall -Wextra -Werror -shared -fPIC -o "$BATS_FILE_TMPDIR/flood.so" \
		"$BATS_TEST_DIRNAME/flood-preload.c"
}

setup()
{
	make_machine
	export MOCK MOCK_LOG=$BATS_TEST_TMPDIR/offlined
	FILE=$MOCK/lib/hugepoison/pages
	touch "$MOCK/kmsg" "$MOCK/sys/devices/system/memory/soft_offline_page" \
		"$MOCK/sys/devices/system/memory/hard_offline_page"
	modules A1:111:128:0-8000000 B1:222:128:8000000-10000000
}

# kernel COMMAND...: with one that takes pages out of use; the tool without a sanitizer
kernel()
{
	ln -sf "$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject" "$TOOL"
	mocked env LD_PRELOAD="$BATS_FILE_TMPDIR/offline.so" "$@"
}

# flooded RECORDS READS COMMAND...: where so many records come with each read of the log
flooded()
{
	ln -sf "$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject" "$TOOL"
	mocked env LD_PRELOAD="$BATS_FILE_TMPDIR/flood.so" FLOOD="$1" FLOOD_READS="$2" LOOKS="$OUT.looks" \
		timeout 60 "${@:3}"
}

reboot()
{
	rm -rf "$MOCK/run/hugepoison" "$MOCK_LOG"
	bad_pages < /dev/null
	truncate -s 0 "$MOCK/proc/kpageflags" "$MOCK/kmsg"
	truncate -s $((65536 * 8)) "$MOCK/proc/kpageflags"
}

# three pages, two of node 0 and of A1, one of node 1 and B1, are remembered
remember_three()
{
	bad_pages <<-EOT
		0x5285 2048 0 narrowed 0:17 1026 /db
		0x5290 2048 0 released -
		0x9001 2048 1 contained 0:17 1026 /db
	EOT
	mocked "$TOOL" remember --now > "$OUT"
	grep -qx 'remembered 3 more pages, 3 in all' "$OUT"
}

remembered() { jq -rs 'map(.page // empty) | join(" ")' "$FILE"; }

# ---- what is remembered ----

@test "now: what the kernel lists and what is marked elsewhere, with the memory it is on" {
	bad_pages <<-EOT
		0x5285 2048 0 narrowed 0:17 1026 /db
		0x9001 2048 1 released -
		0x9002 2048 1 lost 0:17 1026 /db
	EOT
	set_flags 0x77 $POISONED
	set_flags 0x5200 $((POISONED | HUGEPAGE))
	mocked "$TOOL" remember --now > "$OUT"
	grep -qx 'remembered 3 more pages, 3 in all' "$OUT"
	[ "$(remembered)" = "0x5285 0x9001 0x77" ]
	jq -es '.[1].memory == "A1 BANK 0 serial 111 part PART-1 128M" and .[1].size_kb == 2048 and
		(.[1].since | startswith("20")) and .[2].memory == "B1 BANK 0 serial 222 part PART-1 128M" and
		.[3].size_kb == 4 and .[0].machine == "00112233445566778899aabbccddeeff" and .[4].pages == 3' "$FILE"
	[ "$(stat -c %a "$FILE") $(stat -c %a "$MOCK/lib/hugepoison")" = "600 700" ]
	mocked "$TOOL" remember --now > "$OUT"
	grep -qx 'remembered 0 more pages, 3 in all' "$OUT"
	[ "$(ls "$MOCK/lib/hugepoison")" = pages ]
	mocked "$TOOL" remember > "$OUT"
	grep -qE '^0x5285 +2M +20[^ ]+Z +A1 BANK 0 serial 111' "$OUT"
	mocked "$TOOL" remember --json > "$OUT"
	is '.[0] | .this_machine and (.pages | length) == 3 and .pages[0].pfn == 21125'
}

@test "now: never what was injected, as the tool noted it or the kernel's log says" {
	mkdir -p "$MOCK/run/hugepoison"
	printf '0x5285\n0x5286\n-0x5286\n' > "$MOCK/run/hugepoison/injected"
	printf '6,1,1,-;Injecting memory failure at pfn 0x5287\n' > "$MOCK/kmsg"
	printf '%s 2048 0 narrowed -\n' 0x5285 0x5286 0x5287 | bad_pages
	mocked "$TOOL" remember --now > "$OUT"
	[ "$(remembered)" = 0x5286 ]
}

@test "now: a line that user space wrote into the log does not make a real error an injected one" {
	printf '12,1,1,-;Injecting memory failure at pfn 0x5287\n' > "$MOCK/kmsg"
	echo '0x5287 2048 0 narrowed -' | bad_pages
	mocked "$TOOL" remember --now > "$OUT"
	[ "$(remembered)" = 0x5287 ]
}

@test "now: what the kernel quotes of a user's words does not make a real error an injected one" {
	printf '3,1,1,-;tmpfs: Unknown parameter %s\n' "'Injecting memory failure at pfn 0x5287'" \
		> "$MOCK/kmsg"
	echo '0x5287 2048 0 narrowed -' | bad_pages
	mocked "$TOOL" remember --now > "$OUT"
	[ "$(remembered)" = 0x5287 ]
}

@test "now: a log that grows as fast as it is read: up to what was there at the call" {
	printf '%s 2048 0 narrowed -\n' 0x5285 0x5287 | bad_pages
	flooded 1 1000 "$TOOL" remember --now > "$OUT"
	[ "$(remembered)" = 0x5285 ]
}

@test "now: a log that overwrites what is about to be read: it ends, and remembers" {
	printf '%s 2048 0 narrowed -\n' 0x5285 0x5287 | bad_pages
	flooded 2 1000000000 "$TOOL" remember --now > "$OUT"
	[ "$(remembered)" = 0x5285 ]
}

@test "monitor --remember with such a log: tells, remembers, and a signal ends it" {
	mkfifo "$OUT.trace"
	echo '0x5285 2048 0 narrowed -' | bad_pages
	flooded 2 1000000000 "$TOOL" monitor --from "$OUT.trace" --remember --json > "$OUT" 3>&- &
	exec 4> "$OUT.trace"
	echo '     x-1 [000] .....    12.3: memory_failure_event: pfn 0x77: recovery action for dirty LRU page: Recovered' >&4
	for _ in {1..100}; do
		[ "$(remembered)" = "0x5285 0x77" ] && break
		sleep 0.1
	done
	[ "$(remembered)" = "0x5285 0x77" ]
	is '.[0].pfn == 119'
	pkill -TERM -P $! -x timeout || kill $!
	wait $!
	exec 4>&-
}

@test "monitor: thousands of events a second are one look at the list a second" {
	mkfifo "$OUT.trace"
	echo '0x5285 2048 0 narrowed -' | bad_pages
	flooded 0 1000000000 "$TOOL" monitor --from "$OUT.trace" --remember --json > "$OUT" 3>&- &
	monitor=$!
	for i in {1..1000}; do
		echo "     x-1 [000] .....    12.3: hugepoison_heal: pfn=0x$((i % 100)) size=2048kB node=0 outcome=failed duration=1ns"
	done > "$OUT.events"
	echo '     x-1 [000] .....    12.3: memory_failure_event: pfn 0x77: recovery action for dirty LRU page: Recovered' > "$OUT.error"
	begin=$SECONDS
	(
		while [ $((SECONDS - begin)) -lt 4 ]; do
			cat "$OUT.events"
		done
		cat "$OUT.error"
	) > "$OUT.trace"
	wait $monitor
	looks=$(wc -l < "$OUT.looks")
	echo "$looks looks, $((SECONDS - begin)) s"
	# one before it listens, one when it ends
	[ "$looks" -le $((SECONDS - begin + 3)) ]
	is 'map(select(.event == "page")) | length == 1'
	is 'map(select(.repeated == 0 and .event == "heal")) | length == 100'
	[ "$(remembered)" = "0x5285 0x77" ]
}

@test "monitor --remember: as errors come, and what came before" {
	echo '0x5285 2048 0 narrowed -' | bad_pages
	echo '     x-1 [000] .....    12.3: memory_failure_event: pfn 0x77: recovery action for dirty LRU page: Recovered' > "$OUT.trace"
	mocked "$TOOL" monitor --from "$OUT.trace" --remember --json > "$OUT"
	[ "$(remembered)" = "0x5285 0x77" ]
	mkdir -p "$MOCK/run/hugepoison"
	echo 0x78 > "$MOCK/run/hugepoison/injected"
	sed -i s/0x77/0x78/ "$OUT.trace"
	mocked "$TOOL" monitor --from "$OUT.trace" --remember --json > "$OUT"
	is '.[0].injected'
	[ "$(remembered)" = "0x5285 0x77" ]
}

@test "monitor --remember: an error that nobody reads of is remembered" {
	echo '     x-1 [000] .....    12.3: memory_failure_event: pfn 0x77: recovery action for dirty LRU page: Recovered' > "$OUT.trace"
	refused 1 "cannot write the report" mocked sh -c '"$@" > /dev/full' sh \
		"$TOOL" monitor --from "$OUT.trace" --remember --json
	[ "$(remembered)" = 0x77 ]
}

# ---- after a reboot ----

@test "replay: each page is taken out of use, softly; what is out already is left alone" {
	remember_three
	reboot
	set_flags 0x5290 $POISONED
	kernel "$TOOL" remember --replay > "$OUT"
	cat "$OUT"
	diff "$OUT" - <<-EOT
		0x5285: taken out of use
		0x5290: out of use already
		0x9001: taken out of use
	EOT
	diff "$MOCK_LOG" <(printf 'soft 0x5285\nsoft 0x9001\n')
	kernel "$TOOL" remember --replay --json > "$OUT"
	is '.[0].pages | length == 3 and all(.result == "out of use already")'
	# what was taken out is no new error
	mocked "$TOOL" remember --now > "$OUT"
	grep -qx 'remembered 0 more pages, 3 in all' "$OUT"
}

@test "replay --dry-run changes nothing" {
	remember_three
	reboot
	kernel "$TOOL" remember --replay --dry-run > "$OUT"
	[ "$(grep -c ': would be taken out of use$' "$OUT")" = 3 ]
	[ ! -e "$MOCK_LOG" ]
}

@test "replay: not where the module was exchanged, in whatever it differs" {
	remember_three
	for other in A1:999:128 A2:111:128 A1:111:64; do
		reboot
		modules $other:0-8000000 B1:222:128:8000000-10000000
		kernel "$TOOL" remember --replay > "$OUT" 2> "$ERR"
		[ "$(grep -c 'left in use: the memory was exchanged' "$OUT")" = 2 ]
		grep -qx '0x9001: taken out of use' "$OUT"
		grep -q '0x5285 was on A1 BANK 0 serial 111 part PART-1 128M: if that was repaired, --forget 0x5285' "$ERR"
		diff "$MOCK_LOG" <(echo soft 0x9001)
	done
}

@test "replay: interleaved modules: an exchange of one is one of all" {
	modules A1:111:128 B1:222:128
	remember_three
	reboot
	kernel "$TOOL" remember --replay > "$OUT"
	[ "$(grep -c 'taken out of use$' "$OUT")" = 3 ]
	reboot
	modules A1:111:128 B1:333:128
	kernel "$TOOL" remember --replay > "$OUT" 2> "$ERR"
	[ "$(grep -c 'exchanged$' "$OUT")" = 3 ]
	[ ! -e "$MOCK_LOG" ]
}

@test "replay: memory that this kernel does not have, as with memmap=" {
	remember_three
	reboot
	set_flags 0x5285 $NO_PAGE
	truncate -s $((0x9000 * 8)) "$MOCK/proc/kpageflags"
	kernel "$TOOL" remember --replay > "$OUT"
	[ "$(grep -c 'this kernel has no memory there$' "$OUT")" = 2 ]
	diff "$MOCK_LOG" <(echo soft 0x5290)
}

@test "replay: a page that the kernel cannot move: the remedy, the others, and a failure" {
	remember_three
	reboot
	MOCK_BUSY=0x5285 refused 1 'the kernel'\''s command line can: memmap=4K$0x5285000' kernel "$TOOL" remember --replay
	grep -qx '0x5285: STILL IN USE' "$OUT"
	[ "$(grep -c 'taken out of use$' "$OUT")" = 2 ]
	# tried again, as its holder may drop it; never hard offlined, as it is in use
	[ "$(grep -c 'soft 0x5285' "$MOCK_LOG")" = 3 ]
	run -1 grep hard "$MOCK_LOG"
}

@test "replay: soft offline is off: only what is free goes the hard way" {
	remember_three
	reboot
	set_flags 0x5285 $BUDDY
	MOCK_SOFT_ERRNO=95 refused 1 'Operation not supported' kernel "$TOOL" remember --replay
	grep -qx 'hard 0x5285' "$MOCK_LOG"
	[ "$(grep -c hard "$MOCK_LOG")" = 1 ]
}

@test "replay: a pool that got smaller is set to its size; one that cannot be is said" {
	remember_three
	reboot
	pool=$MOCK/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages
	echo 64 > "$pool"
	MOCK_POOL=$pool kernel "$TOOL" remember --replay > "$OUT"
	[ "$(cat "$pool")" = 64 ]
	reboot
	MOCK_NO_MEMORY=1 MOCK_POOL=$pool refused 1 "the pool of 2M hugepages of node 0 is 3 smaller: no memory for a fresh one: echo 64 >" \
		kernel "$TOOL" remember --replay
	[ "$(cat "$pool")" = 61 ]
}

@test "replay: nothing to do is no failure; a kernel that cannot is one" {
	run -0 kernel "$TOOL" remember --replay
	[ "$output" = "nothing is remembered" ]
	remember_three
	rm "$MOCK"/sys/devices/system/memory/*_offline_page
	refused 77 "CONFIG_MEMORY_FAILURE" kernel "$TOOL" remember --replay
}

@test "another machine: nothing is taken out; its file is set aside by the next error" {
	remember_three
	reboot
	modules ffffffffffffffffffffffffffffffff A1:111:128:0-8000000 B1:222:128:8000000-10000000
	refused 1 "is of another machine (00112233445566778899aabbccddeeff, this is ffffffffffffffffffffffffffffffff)" \
		kernel "$TOOL" remember --replay
	[ ! -e "$MOCK_LOG" ]
	mocked "$TOOL" remember > "$OUT"
	grep -q '^of another machine' "$OUT"
	echo '0x100 2048 0 released -' | bad_pages
	mocked "$TOOL" remember --now > "$OUT" 2> "$ERR"
	[ "$(remembered)" = 0x100 ]
	[ "$(jq -rs 'map(.page // empty) | length' "$FILE.other-machine")" = 3 ]
}

@test "a machine whose firmware says nothing of its memory: page frames alone count" {
	rm -r "$MOCK/sys/firmware"
	remember_three
	reboot
	kernel "$TOOL" remember --replay > "$OUT"
	[ "$(grep -c 'taken out of use$' "$OUT")" = 3 ]
}

# ---- a file that is not as it should be ----

@test "a damaged file: what can be read counts, it is said, and it is kept aside" {
	remember_three
	cp "$FILE" "$OUT.good"
	damage() { sed -i '3s/.*/{"page":"0x52/' "$1"; }
	cut() { head -n 3 "$OUT.good" > "$1"; }
	tail_cut() { head -c -5 "$OUT.good" > "$1"; }
	more() { cat "$OUT.good" > "$1"; sed -n 2p "$OUT.good" >> "$1"; }
	garbage() { head -c 3000 /dev/urandom > "$1"; }
	empty() { : > "$1"; }
	first() { sed -i '1s/.*/{"hugepo/' "$1"; }
	for how in damage:2 first:3 cut:2 tail_cut:3 more:3 garbage:0 empty:0; do
		reboot
		cp "$OUT.good" "$FILE"
		${how%:*} "$FILE"
		got=0
		kernel "$TOOL" remember --replay > "$OUT" 2> "$ERR" || got=$?
		echo "$how: exit $got: $(cat "$OUT" "$ERR")"
		grep -qE 'damaged: [0-9]+ pages can be read, and count' "$ERR"
		[ $got = 1 ]
		[ "$(grep -c 'taken out of use$' "$OUT")" = ${how#*:} ]
	done
	cp "$OUT.good" "$FILE"
	damage "$FILE"
	cp "$FILE" "$OUT.damaged"
	echo '0x100 2048 0 released -' | bad_pages
	mocked "$TOOL" remember --now > "$OUT" 2> "$ERR"
	[ "$(remembered)" = "0x5285 0x9001 0x100" ]
	cmp "$FILE.damaged" "$OUT.damaged"
	run -0 mocked "$TOOL" remember
	[[ $output != *damaged* ]]
}

@test "a directory in its place, or one that nobody can write to: said" {
	mkdir -p "$FILE"
	refused 1 "damaged" kernel "$TOOL" remember --replay
	rmdir "$FILE"
	rm -r "$MOCK/lib/hugepoison"
	touch "$MOCK/lib/hugepoison"
	echo '0x100 2048 0 released -' | bad_pages
	refused 1 "cannot lock /var/lib/hugepoison: Not a directory" mocked "$TOOL" remember --now
	run -0 kernel "$TOOL" remember --replay
}

@test "a full disk: said, and what was remembered before is there still" {
	remember_three
	cp "$FILE" "$OUT.good"
	for i in {1..200}; do echo "0x$i 2048 0 released -"; done | bad_pages
	refused 1 "No space left on device: what was remembered before is there still" mocked sh -c '
		cp /var/lib/hugepoison/pages /tmp/good.$$ && mount -t tmpfs -o size=8k,mode=700 tmpfs /var/lib/hugepoison &&
		mv /tmp/good.$$ /var/lib/hugepoison/pages && { "$0" remember --now; got=$?; ls /var/lib/hugepoison
		cmp /var/lib/hugepoison/pages "$1" && exit $got; }' "$TOOL" "$OUT.good"
	[ "$(cat "$OUT")" = pages ]
}

# ---- forget ----

@test "forget one, and all; what was forgotten does not come back in this boot" {
	remember_three
	mocked "$TOOL" remember --forget 0x5290 --dry-run > "$OUT"
	[ "$(cat "$OUT")" = "would forget 1 pages" ]
	[ "$(remembered)" = "0x5285 0x5290 0x9001" ]
	mocked "$TOOL" remember --forget 0x5290 > "$OUT"
	[ "$(remembered | xargs -n 1 | sort | xargs)" = "0x5285 0x9001" ]
	mocked "$TOOL" remember --now > "$OUT"
	grep -qx 'remembered 0 more pages, 2 in all' "$OUT"
	refused 1 "page frame 0x5290 is not remembered" mocked "$TOOL" remember --forget 0x5290
	mocked "$TOOL" remember --forget-all > "$OUT"
	[ "$(remembered)" = "" ]
	mocked "$TOOL" remember --now > "$OUT"
	grep -qx 'remembered 0 more pages, 0 in all' "$OUT"
	# a real error after the next boot is one
	reboot
	echo '0x5290 2048 0 released -' | bad_pages
	mocked "$TOOL" remember --now > "$OUT"
	[ "$(remembered)" = 0x5290 ]
}

@test "many at once: nothing gets lost" {
	for i in {1..40}; do echo "0x$i 2048 0 released -"; done | bad_pages
	mocked "$TOOL" remember --now > "$OUT"
	for i in {1..20}; do
		mocked "$TOOL" remember --forget "0x$i" > "$OUT.$i" 3>&- &
	done
	wait
	[ "$(jq -rs 'map(.page // empty) | length' "$FILE")" = 20 ]
}

@test "usage, and not root" {
	refused 2 "give one only" "$TOOL" remember --now --replay
	refused 2 "give one only" "$TOOL" remember --forget 1 --forget-all
	refused 2 "is not a number" "$TOOL" remember --forget x
	refused 2 "unexpected" "$TOOL" remember 0x5285
	refused 1 "run as root" setpriv --reuid 65534 --clear-groups "$TOOL" remember
}
