# shellcheck shell=bash
# Functions that all building scripts share: refusals, and their messages.

# Linux comes in lines of point releases. KERNEL=7.3, or 7.3/debug, names another than
# this one; KERNEL=debug does not.
default_line=6.12
line_of()
{
	[[ $1 =~ ^([0-9]+\.[0-9]+)(/.*)?$ ]] && echo "${BASH_REMATCH[1]}" || echo "$default_line"
}

fail()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# need_place DIRECTORY: kbuild's makefiles split names at spaces and colons.
need_place()
{
	[[ $1 != *[[:space:]:]* ]] ||
		fail "the path '$1' has a space or a colon in it, where the kernel does not build: move it"
}

free_disk()
{
	df -Pm "$1" | awk 'NR == 2 { print $4 }'
}

# need_disk DIRECTORY MB WHAT, need_memory MB WHAT: say so before hours of work are lost.
need_disk()
{
	local free

	free=$(free_disk "$1")
	[ "$free" -ge "$2" ] || fail "disk full: $3 needs $2 MB in $1, $free MB are free"
}

need_memory()
{
	local free

	free=$(awk '/^MemAvailable/ { print int($2 / 1024) }' "${MEMINFO:-/proc/meminfo}")
	[ "$free" -ge "$1" ] || fail "out of memory: $2 needs $1 MB, $free MB are available"
}

# explain_failure LOG WHAT: the errors in the log, its end, and a remedy where one is known.
explain_failure()
{
	grep -nE 'error:|Error [0-9]|undefined reference|\*\*\*' "$1" | head -n 15 >&2
	echo "$(basename "$0"): the last lines of $1:" >&2
	tail -n 15 "$1" >&2
	if grep -q 'No space left on device' "$1"; then
		fail "disk full: $(free_disk "${1%/*}") MB are free in ${1%/*}"
	elif grep -qE 'Killed signal terminated|Cannot allocate memory|virtual memory exhausted' "$1"; then
		fail "out of memory: try JOBS=1"
	fi
	fail "$2 does not build"
}

# every SECONDS COMMAND...: runs the command again and again, until it is killed. The last
# sleep outlives the caller, so it must not keep the caller's locks open, nor descriptors
# that bats waits for.
every()
{
	local seconds=$1

	shift
	while sleep "$seconds" > /dev/null 2>&1; do
		"$@"
	done
} 3>&- 8>&- 9>&-

say_elapsed()
{
	echo "  $1: $((SECONDS - $2)) s"
}

# with_progress WHAT COMMAND...: runs the command, and says every 20 s that it still does.
with_progress()
{
	local what=$1 progress status

	shift
	every 20 say_elapsed "$what" $SECONDS & progress=$!
	"$@"
	status=$?
	kill $progress
	wait $progress 2> /dev/null
	return $status
}
