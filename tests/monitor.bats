#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# hugepoisonctl monitor on any kernel: what a trace said becomes lines, JSON, entries of
# the journal, and what triggers are given. Where systemd and the kernel have files, there
# are files of ours in a mount namespace. The real ones are in tests/monitor-guest.bats.
# Run as root.
# shellcheck disable=SC2016,SC2191 # programs of jq, triggers; words of readline
bats_require_minimum_version 1.5.0
load mock

setup_file()
{
	make -s -C "$BATS_TEST_DIRNAME/../tools" all sanitize
}

setup()
{
	BIN=$BATS_TEST_TMPDIR/bin
	TOOL=$BIN/hugepoisonctl
	OUT=$BATS_TEST_TMPDIR/out
	ERR=$BATS_TEST_TMPDIR/err
	TRACE=$BATS_TEST_TMPDIR/trace
	TRIGGERS=$BATS_TEST_TMPDIR/triggers.d
	mkdir "$BIN" "$TRIGGERS"
	ln -s "$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject.sanitize" "$TOOL"
}

# event NAME PFN OUTCOME: as the kernel writes it, behind a name that tries to be one
event() { at 12.345999 "$@"; }

# at SECONDS NAME PFN OUTCOME: an event at that time
at()
{
	echo " x: hugepoison_h-99    [001] d..1.    $1: hugepoison_$2: pfn=$3 size=2048kB node=1 outcome=$4 duration=183420ns"
}

page()
{
	echo "           <...>-123   [000] .....    12.345678: memory_failure_event: pfn $1: recovery action for $2: $3"
}

# trigger NAME LINE...: a shell script among the triggers
trigger()
{
	{ echo '#!/bin/sh'; printf '%s\n' "${@:2}"; } > "$TRIGGERS/$1"
	chmod 755 "$TRIGGERS/$1"
}

# ---- the name ----

@test "hugepoisonctl knows no command that makes an error; hugepoison-inject knows all" {
	run -0 "$TOOL" --help
	[[ $output == "Usage: hugepoisonctl "* ]]
	help=$output
	for command in inject unpoison soak; do
		[[ $help != *"  $command "* ]]
		refused 2 "$command: makes or undoes errors: hugepoison-inject $command" "$TOOL" $command --pfn 1
	done
	for command in status list features monitor remember verify; do
		[[ $help == *"  $command "* ]]
		run -0 "$TOOL" $command --help
		[[ $output == "Usage: hugepoisonctl $command "* ]]
		run -0 "$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject.sanitize" $command --help
		[[ $output == "Usage: hugepoison-inject $command "* ]]
	done
	refused 2 "hugepoisonctl: fill: no such command" "$TOOL" fill
	run -0 "$TOOL" --version
	[[ $output =~ ^hugepoisonctl\ [0-9] ]]
}

@test "hugepoisonctl: --help and man page agree" {
	page=$BATS_TEST_DIRNAME/../tools/hugepoisonctl.8
	commands=$("$TOOL" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p')
	for command in $commands; do
		"$TOOL" "$command" --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+'
	done | sort -u > "$OUT"
	[ "$(wc -l < "$OUT")" -gt 15 ]
	sed -n '/^\.Sh OPTIONS/,/^\.Sh SEE/p' "$page" | grep '^\.It' | grep -oE 'Fl -[a-z-]+' |
		sed 's/Fl /-/' | sort -u | diff "$OUT" -
	sed -n '/^.Sh COMMANDS/,/^.Sh ENV/s/^.It Cm \([a-z]*\).*/\1/p' "$page" | diff <(echo "$commands") -
	for section in ENVIRONMENT FILES 'SEE ALSO' 'EXIT STATUS'; do
		grep -qx ".Sh $section" "$page"
	done
}

@test "the man pages are clean, and hugepoison(7) fits a screen of 80 lines" {
	for page in hugepoisonctl.8 hugepoison.7 hugepoison-inject.8; do
		mandoc -T lint -W warning "$BATS_TEST_DIRNAME/../tools/$page"
	done
	[ "$(mandoc -T ascii "$BATS_TEST_DIRNAME/../tools/hugepoison.7" | wc -l)" -le 80 ]
}

@test "completion: both names, and --via=WAY as well" {
	# shellcheck disable=SC1091
	source "$BATS_TEST_DIRNAME/../tools/hugepoison-inject.bash"
	PATH=$BIN:$PATH
	ln -s "$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject.sanitize" "$BIN/hugepoison-inject"
	COMP_WORDS=(hugepoisonctl '') COMP_CWORD=1
	_hugepoison_inject
	[ "${COMPREPLY[*]}" = "$("$TOOL" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' | xargs)" ]
	COMP_WORDS=(hugepoisonctl monitor --j) COMP_CWORD=2
	_hugepoison_inject
	[ "${COMPREPLY[*]}" = "--journal --json" ]
	COMP_WORDS=(hugepoison-inject inject --via "=" h) COMP_CWORD=4
	_hugepoison_inject
	[ "${COMPREPLY[*]}" = hard-offline ]
	COMP_WORDS=(hugepoison-inject inject --via "=") COMP_CWORD=3
	_hugepoison_inject
	[ "${#COMPREPLY[@]}" = 5 ]
	complete -p hugepoisonctl hugepoison-inject
}

# ---- lines and JSON ----

@test "a line for each event; what a process is called does not count, nor what is noise" {
	{ event contain 0x5285 narrowed; event replace 0x9000 failed; event refill 0x5285 refilled
		echo noise; echo; page 0x77 'dirty LRU page' Recovered; echo 'CPU:1 [LOST 12 EVENTS]'; } > "$TRACE"
	run -0 "$TOOL" monitor --from "$TRACE"
	[ "${#lines[@]}" = 6 ]
	[[ ${lines[0]} == "time "*" page frame "*" outcome "* ]]
	[[ ${lines[1]} =~ ^12\.345999\ +contain\ +0x5285\ +2M\ +1\ +narrowed\ +-\ +-$ ]]
	[[ ${lines[2]} =~ replace\ +0x9000\ +2M\ +1\ +failed ]]
	[[ ${lines[3]} =~ refill\ +0x5285\ +2M\ +1\ +refilled ]]
	[[ ${lines[4]} =~ page\ +0x77\ +4K\ +-\ +Recovered ]]
	[[ ${lines[5]} =~ lost\ +12\ events ]]
	# no terminal, no colour
	[[ $output != *$'\033'* ]]
}

@test "--json: an object a line, each key documented" {
	{ event contain 0x5285 narrowed; page 0x77 'huge page' Recovered; echo 'CPU:1 [LOST 12 EVENTS]'; } > "$TRACE"
	"$TOOL" monitor --from - --json < "$TRACE" > "$OUT"
	[ "$(wc -l < "$OUT")" = 3 ]
	jq -es '.[0] | .event == "contain" and .pfn == 21125 and .size_kb == 2048 and .node == 1 and
		.outcome == "narrowed" and .duration_ns == 183420 and .time == null and
		.seconds == 12.345999 and .state == null and .owner == null and .injected == false' "$OUT"
	jq -es '.[1] | .event == "page" and .type == "huge page" and .size_kb == null and .node == null' "$OUT"
	jq -es '.[2] | .event == "lost" and .lost == 12' "$OUT"
	jq -r '.. | objects | keys[]' "$OUT" | sort -u > "$OUT.keys"
	grep -oE '`"?[a-z_]+["`]' "$BATS_TEST_DIRNAME/../docs/inject-json.md" | tr -d '`"' | sort -u |
		comm -23 "$OUT.keys" - > "$OUT.undocumented"
	cat "$OUT.undocumented"
	[ ! -s "$OUT.undocumented" ]
}

@test "--count ends it; a closed or full output does" {
	for i in {1..20}; do event heal "0x$i" healed; done > "$TRACE"
	run -0 "$TOOL" monitor --from "$TRACE" --json --count 3
	[ "${#lines[@]}" = 3 ]
	refused 1 "cannot write the report" bash -c "\"$TOOL\" monitor --from \"$TRACE\" > /dev/full"
}

@test "an endless line is cut, one without an end counts" {
	{ head -c 20000 /dev/zero | tr '\0' x; echo; event heal 0x1 healed; event heal 0x2 healed | tr -d '\n'; } > "$TRACE"
	run -0 "$TOOL" monitor --from "$TRACE" --json
	[ "${#lines[@]}" = 2 ]
}

@test "a pipe: told while it is open; a signal ends the monitor while it is silent" {
	mkfifo "$OUT.pipe"
	"$TOOL" monitor --from "$OUT.pipe" --json > "$OUT" 3>&- &
	exec 4> "$OUT.pipe"
	{ event heal 0x5285 healed; event heal 0x5286 hea | tr -d '\n'; } >&4
	for _ in {1..100}; do
		[ -s "$OUT" ] && break
		sleep 0.1
	done
	jq -es 'length == 1 and .[0].pfn == 21125' "$OUT"
	kill $!
	wait $!
	exec 4>&-
}

# ---- events that repeat ----

@test "the same again and again: a line, then how many; others come between them" {
	{ for i in {0..9}; do at "20.$i" heal 0x5285 failed; done
		at 20.95 contain 0x5286 narrowed; at 20.96 heal 0x5285 healed
		at 22.5 release 0x5200 released; at 22.6 heal 0x5285 failed; at 90.0 heal 0x5285 failed; } > "$TRACE"
	"$TOOL" monitor --from "$TRACE" --json > "$OUT"
	jq -r '[.event, .outcome, .repeated, .seconds] | join(" ")' "$OUT" | diff - <(cat <<-EOT
		heal failed 0 20
		contain narrowed 0 20.95
		heal healed 0 20.96
		heal failed 9 20.9
		release released 0 22.5
		heal failed 1 22.6
		heal failed 0 90
	EOT
	)
}

@test "the same for minutes: a line comes ever more seldom, and the numbers add up" {
	for i in {1000..2999}; do at "${i:0:3}.${i:3}" heal 0x5285 failed; done > "$TRACE"
	"$TOOL" monitor --from "$TRACE" --json > "$OUT"
	jq -es 'length < 12 and (map(.repeated) | add) + 1 == 2000' "$OUT"
	# after a pause it is an event like the first one
	at 400.0 heal 0x5285 failed >> "$TRACE"
	at 600.0 heal 0x5285 failed >> "$TRACE"
	"$TOOL" monitor --from "$TRACE" --json > "$OUT"
	jq -es '.[-1].repeated == 0 and .[-1].seconds == 600' "$OUT"
	# a trace of the boot before has another clock
	at 300.0 heal 0x5285 failed >> "$TRACE"
	"$TOOL" monitor --from "$TRACE" --json > "$OUT"
	jq -es '.[-1].repeated == 0 and .[-1].seconds == 300' "$OUT"
}

@test "what repeats is one entry of the journal, with a number, and has one trigger" {
	trigger 10-count "echo \$HUGEPOISON_PFN >> $OUT.ran"
	for _ in {1..1000}; do event heal 0x5285 failed; done > "$TRACE"
	event contain 0x5286 narrowed >> "$TRACE"
	with_journal "$TOOL" monitor --from "$TRACE" --journal --triggers "$TRIGGERS"
	[ "$(grep -c '^MESSAGE=' "$OUT.journal")" = 3 ]
	grep -qxF 'MESSAGE=0x5285: a raw page is not healed: failed (2M, node 1), 999 more times' "$OUT.journal"
	[ "$(sed -n 's/^HUGEPOISON_REPEATED=//p' "$OUT.journal" | xargs)" = "0 0 999" ]
	[ "$(sort "$OUT.ran" | xargs)" = "0x5285 0x5286" ]
	run -0 "$TOOL" monitor --from "$TRACE"
	[[ ${lines[3]} == *"0x5285 "*", 999 more times" ]]
}

@test "too many different ones: later steps are counted as lost, errors never are" {
	for i in {1..5000}; do at 12.5 heal "0x$i" failed; done > "$TRACE"
	for i in {1..5000}; do at 12.6 contain "0x$i" failed; done >> "$TRACE"
	"$TOOL" monitor --from "$TRACE" --json > "$OUT"
	jq -es 'map(select(.event == "contain")) | length == 5000' "$OUT"
	jq -es '(map(select(.event == "heal")) | length) + (map(.lost // 0) | add) == 5000' "$OUT"
	jq -es 'map(select(.event == "lost")) | length == 2' "$OUT"
}

@test "an error has its trigger, and soon, however many later steps wait for theirs" {
	trigger 10-slow "echo \$HUGEPOISON_EVENT \$HUGEPOISON_OUTCOME >> $OUT.ran" 'sleep 0.1'
	{ for i in {1..3000}; do event heal "0x$i" failed; done
		event contain 0x5285 failed; event replace 0x5200 failed; } > "$TRACE"
	setsid "$TOOL" monitor --from "$TRACE" --json --triggers "$TRIGGERS" 2> "$ERR" > "$OUT" 3>&- &
	for _ in {1..300}; do
		grep -q replace "$OUT.ran" && break
		sleep 0.1
	done
	kill -KILL -- -$! || true
	grep -qx 'contain failed' "$OUT.ran"
	grep -qx 'replace failed' "$OUT.ran"
	# those that ran while the monitor was reading
	[ "$(grep -c heal "$OUT.ran")" -lt 100 ]
}

@test "usage, and what is not there" {
	refused 2 "unrecognized" "$TOOL" monitor --pfn 1
	refused 2 "has to be more than 0" "$TOOL" monitor --count 0
	refused 1 "cannot read /nonexistent" "$TOOL" monitor --from /nonexistent
	refused 1 "run as root" setpriv --reuid 65534 --clear-groups "$TOOL" monitor
	refused 1 "--triggers /nonexistent: No such file" "$TOOL" monitor --from /dev/null --triggers /nonexistent
	refused 1 "not a directory" "$TOOL" monitor --from /dev/null --triggers /dev/null
	run -0 "$TOOL" monitor --from /dev/null --dry-run
	[ "$output" = "would listen to /dev/null" ]
}

# in_namespace COMMAND...: what it does to /sys and /run is its own
in_namespace()
{
	unshare --mount sh -c 'mount -t tmpfs tmpfs /sys && mkdir -p /sys/kernel/tracing /sys/kernel/debug &&
		exec "$@"' sh "$@"
}

# shellcheck disable=SC2016 # the inner shell expands these
@test "no tracefs, no events, no instances: said with the remedy" {
	refused 1 "mount -t tracefs none /sys/kernel/tracing" in_namespace "$TOOL" monitor
	# a tracefs by its type is what a test cannot make: debugfs has one as well
	grep -q debugfs /proc/filesystems || skip "no debugfs in /proc/filesystems"
	refused 77 "CONFIG_HUGEPOISON" in_namespace sh -c 'mount -t debugfs none /sys/kernel/debug &&
		mkdir -p /tmp && [ ! -d /sys/kernel/debug/tracing ] || mount -t tmpfs none /sys/kernel/debug/tracing
		exec "$@"' sh "$TOOL" monitor
}

# ---- the journal ----

# with_journal COMMAND...: $OUT.journal gets each datagram, with a line "--" before it
with_journal()
{
	unshare --mount sh -c 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && exec "$@"' sh \
		python3 -c '
import os, socket, subprocess, sys
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind("/run/notify")
status = subprocess.call(sys.argv[2:], env=dict(os.environ, NOTIFY_SOCKET="/run/notify"))
with open(sys.argv[1], "wb") as out:
    for s in journal, notify:
        s.setblocking(False)
        try:
            while True:
                out.write(b"--\n" + s.recv(65536))
        except BlockingIOError:
            pass
sys.exit(status)' "$OUT.journal" "$@"
}

@test "--journal: fields, a message, an id and a priority for each kind" {
	{ event contain 0x5285 narrowed; event contain 0x5286 failed; event replace 0x5200 failed
		event release 0x5200 released; echo 'CPU:1 [LOST 12 EVENTS]'; } > "$TRACE"
	with_journal "$TOOL" monitor --from "$TRACE" --journal > "$OUT"
	[ ! -s "$OUT" ]
	cat "$OUT.journal"
	[ "$(grep -c '^--$' "$OUT.journal")" = 6 ]
	[ "$(tail -n 1 "$OUT.journal")" = READY=1 ]
	sed -n '2,/^--/p' "$OUT.journal" > "$OUT.first"
	for field in 'MESSAGE=0x5285: memory error in a hugepage: narrowed (2M, node 1)' PRIORITY=5 \
		SYSLOG_IDENTIFIER=hugepoison HUGEPOISON_EVENT=contain HUGEPOISON_PFN=0x5285 \
		HUGEPOISON_SIZE_KB=2048 HUGEPOISON_NODE=1 HUGEPOISON_OUTCOME=narrowed \
		HUGEPOISON_OWNER=- HUGEPOISON_DURATION_NS=183420 HUGEPOISON_INJECTED=0; do
		grep -qx -- "$field" "$OUT.first" || { echo "no $field"; return 1; }
	done
	[ "$(sed -n 's/^PRIORITY=//p' "$OUT.journal" | xargs)" = "5 2 3 6 4" ]
	[ "$(sed -n 's/^MESSAGE_ID=//p' "$OUT.journal" | sort -u | wc -l)" = 5 ]
	# each id is explained, and each field that the page names exists
	sed -n 's/^MESSAGE_ID=//p' "$OUT.journal" | sort > "$OUT.ids"
	sed -n 's/^-- \([0-9a-f]*\)$/\1/p' "$BATS_TEST_DIRNAME/../tools/systemd/hugepoison.catalog" | sort | diff "$OUT.ids" -
	sed -n 's/^\(HUGEPOISON_[A-Z_]*\)=.*/\1/p' "$OUT.journal" | sort -u > "$OUT.fields"
	grep -oE 'HUGEPOISON_[A-Z_]+' "$BATS_TEST_DIRNAME/../tools/hugepoisonctl.8" | sort -u | diff "$OUT.fields" -
}

@test "--journal without a journal: standard output gets messages with a priority, and it is said once" {
	{ event contain 0x5285 failed; event contain 0x5286 narrowed; } > "$TRACE"
	unshare --mount sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' sh \
		"$TOOL" monitor --from "$TRACE" --journal > "$OUT" 2> "$ERR"
	[ "$(grep -c 'cannot write to /run/systemd/journal/socket' "$ERR")" = 1 ]
	grep -qx '<2>0x5285: memory error in a hugepage, not contained: failed (2M, node 1)' "$OUT"
	[ "$(wc -l < "$OUT")" = 2 ]
}

# ---- triggers ----

# shellcheck disable=SC2016 # the trigger expands these
@test "triggers: in order, once for each event, with its fields and nothing of ours" {
	trigger 20-b "echo b \$HUGEPOISON_PFN >> $OUT.ran"
	trigger 10-a "echo a \$HUGEPOISON_PFN \$HUGEPOISON_OUTCOME \$SECRET >> $OUT.ran" "env >> $OUT.env"
	{ event contain 0x5285 narrowed; event contain 0x5286 failed; } > "$TRACE"
	SECRET=1 run -0 "$TOOL" monitor --from "$TRACE" --json --triggers "$TRIGGERS"
	diff "$OUT.ran" - <<-EOT
		a 0x5285 narrowed
		b 0x5285
		a 0x5286 failed
		b 0x5286
	EOT
	run -1 grep -vE '^(HUGEPOISON_[A-Z_]+|PATH|PWD|SHLVL|_)=' "$OUT.env"
}

@test "triggers: not what others could have written, nor leftovers, nor what is no program" {
	for name in 10-other 20-world 30-plain 40-old.dpkg-new '50-edited~' 60-good; do
		trigger "$name" "echo $name >> $OUT.ran"
	done
	chown 65534 "$TRIGGERS/10-other"
	chmod 777 "$TRIGGERS/20-world"
	chmod 644 "$TRIGGERS/30-plain"
	mkdir "$TRIGGERS/70-directory"
	event contain 0x5285 narrowed > "$TRACE"
	"$TOOL" monitor --from "$TRACE" --json --triggers "$TRIGGERS" 2> "$ERR" > "$OUT"
	[ "$(cat "$OUT.ran")" = 60-good ]
	grep -qF "10-other: is not root's: not run" "$ERR"
	grep -qF "20-world: may be written by others than root: not run" "$ERR"
	[ "$(wc -l < "$ERR")" = 2 ]
	chmod 777 "$TRIGGERS"
	refused 1 "chmod 755" "$TOOL" monitor --from "$TRACE" --triggers "$TRIGGERS"
}

@test "a trigger that fails or dies is named; the next one runs" {
	trigger 10-fails 'exit 3'
	# shellcheck disable=SC2016 # the trigger expands it
	trigger 20-dies 'kill -9 $$'
	trigger 30-good "touch $OUT.ran"
	echo garbage > "$TRIGGERS/15-garbage"
	chmod 755 "$TRIGGERS/15-garbage"
	event contain 0x5285 narrowed > "$TRACE"
	"$TOOL" monitor --from "$TRACE" --json --triggers "$TRIGGERS" 2> "$ERR" > "$OUT"
	grep -qF "10-fails: exit status 3" "$ERR"
	grep -qF "15-garbage: Exec format error" "$ERR"
	grep -qF "20-dies: SIGKILL" "$ERR"
	[ -e "$OUT.ran" ]
}

@test "a trigger that hangs is ended with its children, and the monitor has not waited" {
	trigger 10-hangs 'sleep 97 &' 'wait'
	event contain 0x5285 narrowed > "$TRACE"
	mkfifo "$OUT.pipe"
	begin=$EPOCHREALTIME
	"$TOOL" monitor --from "$TRACE" --json --triggers "$TRIGGERS" 2> "$ERR" > "$OUT.pipe" 3>&- &
	# the line is there at once, though the trigger goes on
	read -r line < "$OUT.pipe"
	[[ $line == *0x5285* || $line == *21125* ]]
	[ "$(( (${EPOCHREALTIME/./} - ${begin/./}) / 1000 ))" -lt 5000 ]
	wait $!
	grep -qF "10-hangs: ended after 10 s" "$ERR"
	run -1 pgrep -f 'sleep 97'
}

@test "more events than slow triggers can take: dropped and counted, the lines are all there" {
	trigger 10-slow 'sleep 0.2'
	for i in {1..2000}; do event contain "0x$i" narrowed; done > "$TRACE"
	begin=$SECONDS
	setsid "$TOOL" monitor --from "$TRACE" --json --triggers "$TRIGGERS" 2> "$ERR" > "$OUT" 3>&- &
	for _ in {1..200}; do
		[ "$(wc -l < "$OUT")" = 2000 ] && break
		sleep 0.1
	done
	[ "$(wc -l < "$OUT")" = 2000 ]
	for _ in {1..100}; do
		grep -q 'the triggers are too slow: [0-9]* events had none' "$ERR" && break
		sleep 0.1
	done
	grep -q 'the triggers are too slow: [0-9]* events had none' "$ERR"
	[ $((SECONDS - begin)) -lt 40 ]
	kill -KILL -- -$!
}
