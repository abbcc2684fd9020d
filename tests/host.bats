#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# status and list of hugepoisonctl on a machine of files: its pools, its bad pages, its
# memory modules. Run as root.
# shellcheck disable=SC2016,SC2153,SC2154 # a script; mock.bash declares some
bats_require_minimum_version 1.5.0
load mock

setup_file()
{
	make -s -C "$BATS_TEST_DIRNAME/../tools" all sanitize
}

setup()
{
	make_machine
	POOL=$MOCK/sys/devices/system/node/node%d/hugepages/hugepages-2048kB
	OURS=$MOCK/sys/kernel/mm/hugepoison/node%d/hugepages-2048kB
}

# put DIRECTORY-WITH-%d NODE FILE VALUE
put()
{
	# shellcheck disable=SC2059 # the directory is the format
	echo "$4" > "$(printf "$1" "$2")/$3"
}

# on_terminal COMMAND...: its output, where it is a terminal
on_terminal()
{
	mocked script -qec "$*" /dev/null < /dev/null
}

# ---- status ----

@test "status: now and since boot, a column for each node; what is empty or has not happened is hidden" {
	put "$POOL" 0 nr_hugepages 64
	put "$POOL" 1 nr_hugepages 62
	put "$POOL" 1 free_hugepages 60
	put "$OURS" 1 mce_bad_pages 3
	put "$OURS" 0 narrowed 2
	put "$OURS" 1 narrowed 5
	mocked "$TOOL" > "$OUT"
	cat "$OUT"
	grep -qE '^now +all +node 0 +node 1$' "$OUT"
	grep -qE '^2M +nr_hugepages +126 +64 +62$' "$OUT"
	grep -qE '^2M +free_hugepages +60 +0 +60$' "$OUT"
	grep -qE '^2M +resv_hugepages +0 +- +-$' "$OUT"
	grep -qE '^2M +mce_bad_pages +3 +0 +3$' "$OUT"
	grep -qE '^since boot +all +node 0 +node 1$' "$OUT"
	grep -qE '^2M +narrowed +7 +2 +5$' "$OUT"
	run -1 grep -E '^1G|failed|released' "$OUT"
	# the two parts in this order, and what is now not in the other
	[ "$(grep -nE '^(now|since boot)|nr_hugepages|narrowed' "$OUT" | sed 's/.*:\(now\|since boot\|2M *[a-z_]*\).*/\1/' | xargs)" = \
		"now 2M nr_hugepages since boot 2M narrowed" ]
}

@test "status: nothing to show is said" {
	run -0 mocked "$TOOL"
	[[ $output == *"now: no hugepages"* && $output == *"since boot: nothing"* ]]
}

@test "colour on a terminal only; none with NO_COLOR or a dumb one" {
	put "$POOL" 0 nr_hugepages 1
	put "$OURS" 0 failed 1
	export TERM=xterm
	on_terminal "$TOOL" > "$OUT"
	grep -q $'\033\[1;31mfailed' "$OUT"
	NO_COLOR=1 on_terminal "$TOOL" > "$OUT"
	run -1 grep -q $'\033' "$OUT"
	TERM=dumb on_terminal "$TOOL" > "$OUT"
	run -1 grep -q $'\033' "$OUT"
	mocked "$TOOL" > "$OUT"
	run -1 grep -q $'\033' "$OUT"
}

@test "--watch: again and again, until a signal; not for machines" {
	put "$POOL" 0 nr_hugepages 1
	mocked timeout -s INT 3.5 "$TOOL" status --watch=1 > "$OUT" || [ $? = 124 ]
	[ "$(grep -c '^now' "$OUT")" -ge 3 ]
	mocked timeout -s TERM 2.5 "$TOOL" list --watch=1 > "$OUT" || [ $? = 124 ]
	[ "$(grep -c '^nothing is bad' "$OUT")" -ge 2 ]
	refused 2 "a timer is for --prometheus" "$TOOL" status --watch --prometheus
	refused 2 "has to be more than 0" "$TOOL" status --watch=0
	# what the pool becomes meanwhile is seen
	mocked timeout -s INT 4.5 "$TOOL" status --watch=1 > "$OUT" &
	sleep 1.5
	put "$POOL" 0 nr_hugepages 77
	wait $! || true
	grep -qE '^2M +nr_hugepages +1 ' "$OUT"
	grep -qE '^2M +nr_hugepages +77 ' "$OUT"
}

# ---- list ----

@test "list: page frames, as the kernel's log has them" {
	bad_pages <<-EOT
		0x5285 2048 0 narrowed 0:17 1026 memfd:vm\\040memory
		0x5287 2048 0 narrowed 0:17 1026 memfd:vm\\040memory
		0x5288 2048 0 narrowed 0:17 1026 memfd:vm\\040memory
		0x9000 2048 1 released -
	EOT
	mocked "$TOOL" list > "$OUT"
	cat "$OUT"
	grep -qE '^0x5200 +2M +0 +narrowed +0x5285,0x5287-0x5288 memfd:vm memory$' "$OUT"
	grep -qE '^0x9000 +2M +1 +released +0x9000 +-$' "$OUT"
	mocked "$TOOL" list --json > "$OUT"
	is '.[0].hugepages[0] | .raw == [133, 135, 136] and .pfns == [21125, 21127, 21128] and has("dimms") == false'
}

two_bad()
{
	printf '%s\n' '0x5285 2048 0 narrowed 0:17 1026 /db' '0x9001 2048 1 released -' | bad_pages
}

# endless FILE: what a process shows that makes mappings ahead of their reader
endless()
{
	mkdir -p "${1%/*}"
	mkfifo "$1"
	yes 'a000-b000 rw-s 00000000 00:00 0' > "$1" 2> "$ERR.yes" 3>&- &
}

@test "list, and --pid: a process that makes mappings faster than they are read keeps nobody" {
	printf '0x5285 2048 0 narrowed 0:17 1026 /db\n' | bad_pages
	endless "$MOCK/proc/4242/maps"
	mocked timeout 60 "$TOOL" list > "$OUT"
	grep -qE '^0x5200 .* /db$' "$OUT"
	endless "$MOCK/proc/4243/maps"
	refused 1 "process 4243 changes its mappings while we read them" \
		mocked timeout 60 "$BIN/hugepoison-inject" inject --dry-run --pid 4243 --addr 0x5000000
	endless "$MOCK/proc/4244/smaps"
	refused 1 "process 4244 changes its mappings while we read them" \
		mocked timeout 60 "$BIN/hugepoison-inject" inject --dry-run --pid 4244 --hugepage 0
}

@test "list --dimm: by DMI, where it tells which module has which addresses" {
	two_bad
	modules A1:111:128:0-8000000 B1:222:128:8000000-10000000
	mocked "$TOOL" list --dimm > "$OUT"
	cat "$OUT"
	grep -qE '0x5285 +A1 BANK 0 serial 111 part PART-1 128M \(DMI\) /db$' "$OUT"
	grep -qE '0x9001 +B1 BANK 0 serial 222 part PART-1 128M \(DMI\) -$' "$OUT"
	mocked "$TOOL" list --dimm --json > "$OUT"
	is '.[0].hugepages[0].dimms == [{"pfn": 21125, "module": "A1 BANK 0 serial 111 part PART-1 128M", "source": "DMI"}]'
}

@test "list --dimm: interleaved modules are not guessed; a single one is known" {
	two_bad
	modules A1:111:128 B1:222:128
	mocked "$TOOL" list --dimm > "$OUT"
	[ "$(grep -c 'one of 2 (DMI)' "$OUT")" = 2 ]
	modules A1:111:40000
	mocked "$TOOL" list --dimm > "$OUT"
	[ "$(grep -c 'A1 BANK 0 serial 111 part PART-1 40000M (DMI)' "$OUT")" = 2 ]
	rm -r "$MOCK/sys/firmware"
	mocked "$TOOL" list --dimm > "$OUT"
	grep -qE '0x5285 +- +/db' "$OUT"
}

# edac MC DIMM LABEL ERRORS
edac()
{
	mkdir -p "$MOCK/sys/devices/system/edac/mc/mc$1/dimm$2"
	echo "$3" > "$MOCK/sys/devices/system/edac/mc/mc$1/dimm$2/dimm_label"
	echo "$4" > "$MOCK/sys/devices/system/edac/mc/mc$1/dimm$2/dimm_ue_count"
}

@test "list --dimm: EDAC names the only module with uncorrected errors, or none" {
	two_bad
	edac 0 0 CPU0_A1 0
	edac 1 3 CPU1_D2 4
	mocked "$TOOL" list --dimm > "$OUT"
	[ "$(grep -c 'CPU1_D2 (EDAC)' "$OUT")" = 2 ]
	edac 0 0 CPU0_A1 1
	mocked "$TOOL" list --dimm > "$OUT"
	run -1 grep -q EDAC "$OUT"
}

# As rasdaemon makes it: ras-record.c
rasdaemon()
{
	mkdir -p "$MOCK/lib/rasdaemon"
	sqlite3 "$MOCK/lib/rasdaemon/ras-mc_event.db" "
		CREATE TABLE IF NOT EXISTS mc_event (id INTEGER PRIMARY KEY, timestamp TEXT, err_count INTEGER,
			err_type TEXT, err_msg TEXT, label TEXT, mc INTEGER, top_layer INTEGER, middle_layer INTEGER,
			lower_layer INTEGER, address INTEGER, grain INTEGER, syndrome INTEGER, driver_detail TEXT);
		INSERT INTO mc_event (timestamp, err_count, err_type, err_msg, label, mc, address)
			VALUES ('2026-11-26', 1, '$3', 'memory read error', '$1', 0, $2);"
}

@test "list --dimm: rasdaemon's database knows best; the last word on a page counts" {
	two_bad
	modules A1:111:128
	rasdaemon OLD $((0x5285000)) Corrected
	rasdaemon 'CPU_SrcID#0_Ha#0_Chan#1_DIMM#0' $((0x5285abc)) Uncorrected
	rasdaemon OTHER $((0x5286000)) Uncorrected
	mocked "$TOOL" list --dimm > "$OUT"
	cat "$OUT"
	grep -qE '0x5285 +CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 \(rasdaemon\) +/db' "$OUT"
	grep -qE '0x9001 +A1 .*\(DMI\)' "$OUT"
	run -1 grep -E 'OLD|OTHER' "$OUT"
}

@test "list --dimm: a database that cannot be read is said, and the rest is there" {
	two_bad
	mkdir -p "$MOCK/lib/rasdaemon"
	echo garbage > "$MOCK/lib/rasdaemon/ras-mc_event.db"
	modules A1:111:128
	mocked "$TOOL" list --dimm > "$OUT" 2> "$ERR"
	grep -q 'sqlite3 cannot read /var/lib/rasdaemon/ras-mc_event.db' "$ERR"
	grep -q 'A1 .*(DMI)' "$OUT"
	ln -s "$(command -v env)" "$BIN/env"
	mocked env PATH="$BIN" "$TOOL" list --dimm > "$OUT" 2> "$ERR"
	grep -q 'apt install sqlite3' "$ERR"
	grep -q 'A1 .*(DMI)' "$OUT"
}

@test "list --dimm: tables that are cut, or lie about their length, harm nothing" {
	two_bad
	modules A1:111:128:0-8000000 B1:222:128:8000000-10000000
	cp "$MOCK/sys/firmware/dmi/tables/DMI" "$OUT.dmi"
	size=$(stat -c %s "$OUT.dmi")
	for ((cut = 0; cut < size; cut += 7)); do
		head -c "$cut" "$OUT.dmi" > "$MOCK/sys/firmware/dmi/tables/DMI"
		run -0 mocked "$TOOL" list --dimm
	done
	head -c 4096 /dev/urandom > "$MOCK/sys/firmware/dmi/tables/DMI"
	run -0 mocked "$TOOL" list --dimm
}

# rasdaemon_calls NAME=VALUE...: the trigger, with the variables that rasdaemon sets
rasdaemon_calls()
{
	printf '#!/bin/sh\nfor word; do last=$word; done\necho "$last" >> %s.logged\n' "$OUT" > "$BIN/logger"
	chmod 755 "$BIN/logger"
	mocked env -i ASAN_OPTIONS=detect_leaks=0 PATH="$BIN:$PATH" TIMESTAMP='2026-11-26 10:00:00 +0000' \
		COUNT=1 TYPE=Uncorrected MESSAGE='memory read error' MC_INDEX=0 GRAIN=6 SYNDROME=0 "$@" \
		sh "$BATS_TEST_DIRNAME/../docs/operations/rasdaemon-trigger"
}

@test "rasdaemon's trigger logs the page frame, its module, and whose hugepage it is" {
	two_bad
	modules A1:111:128:0-8000000 B1:222:128:8000000-10000000
	rasdaemon_calls LABEL=CPU0_A1 ADDRESS=5285abc
	grep -qE '^uncorrected error in page frame 0x5285, module CPU0_A1: 0x5200 +2M +0 +narrowed .* /db$' "$OUT.logged"
	# another page frame of which this one is a part
	rasdaemon_calls LABEL= ADDRESS=528000
	[ "$(tail -n 1 "$OUT.logged")" = "uncorrected error in page frame 0x528, module unknown: in no hugepage" ]
	# a controller that does not know the address
	rasdaemon_calls LABEL=CPU0_A1 ADDRESS=0
	[ "$(tail -n 1 "$OUT.logged")" = "uncorrected error, module CPU0_A1: no address known" ]
}

@test "list --dimm of a file, or on a stock kernel: said why not" {
	refused 2 "only root knows them" "$TOOL" list --dimm --file x
	rm -r "$MOCK/sys/kernel/mm/hugepoison"
	refused 77 "a stock kernel does not tell" mocked "$TOOL" list --dimm
}
