# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # bats and the tests use these and set those
# SPDX-License-Identifier: GPL-2.0
# What the tests of hugepoison-inject that run in a guest have in common.

HUGE=/dev/hugepages

setup_file()
{
	grep -q vm-init /proc/1/cmdline || {
		echo "not in a guest of scripts/vm: this would poison the host's memory" >&2
		return 1
	}
}

# For setup.
set_up_tool()
{
	TOOL=${INJECT_TOOL:-$BATS_TEST_DIRNAME/../build/tools/hugepoison-inject}
	OUT="$BATS_TEST_TMPDIR/out"
	ERR="$BATS_TEST_TMPDIR/err"
	FILE=$HUGE/$BATS_TEST_NUMBER
	holders=()
}

# For teardown: what the test held.
let_go()
{
	for pid in "${holders[@]}"; do
		kill "$pid" 2> /dev/null || true
		wait "$pid" || true
	done
	[ -z "$shmid" ] || ipcrm -m "$shmid"
	rm -f "$HUGE"/*
}

# await WHAT COMMAND...: until the command succeeds; says what it waited for in vain
await()
{
	local what=$1 end=$((SECONDS + 120))

	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || { echo "waited 120 s in vain for $what"; return 1; }
		sleep 0.1
	done
}

# hold KIND SIZE COUNT TOUCHED [unmapped]: sets pid, addr, fd, shmid and pfns (an array)
hold()
{
	local word list=

	: > "$OUT.holder"
	"$BATS_TEST_DIRNAME/inject-holder" "$@" > "$OUT.holder" 3>&- &
	holders+=("$!")
	await "the holder's answer" [ -s "$OUT.holder" ]
	# shellcheck disable=SC2013 # words, not lines
	for word in $(cat "$OUT.holder"); do
		case $word in
		pfns=*) list=${word#*=} ;;
		*) declare -g "$word" ;;
		esac
	done
	IFS=, read -r -a pfns <<< "$list"
	[ -n "$pid" ]
}

# tool STATUS COMMAND ARGUMENT...: runs the tool with --json, which must end so
tool()
{
	local status=$1 got=0

	shift
	"$TOOL" "$@" --json > "$OUT" 2> "$ERR" || got=$?
	cat "$ERR" "$OUT"
	[ "$got" -eq "$status" ]
}

corrupted() { sed -n 's/^HardwareCorrupted: *\([0-9]*\) kB/\1/p' /proc/meminfo; }

# poisoned PFN: is it marked KPF_HWPOISON (bit 19)
poisoned()
{
	local flags

	flags=$(od -An -tu8 -j $(($1 * 8)) -N8 /proc/kpageflags)
	[ $((flags >> 19 & 1)) = 1 ]
}
