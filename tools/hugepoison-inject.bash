# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Completion for hugepoison-inject and hugepoisonctl: options, and what this system has of processes,
# files, segments and nodes with hugepages.

_hugepoison_inject_pids()
{
	awk '/^HugetlbPages:/ && $2 > 0 { split(FILENAME, part, "/"); print part[3] }' \
		/proc/[0-9]*/status 2> /dev/null
}

_hugepoison_inject_files()
{
	local dir

	while read -r _ dir _; do
		find "${dir//\\040/ }" -xdev -type f 2> /dev/null
	done < <(awk '$3 == "hugetlbfs"' /proc/self/mounts)
}

_hugepoison_inject_segments()
{
	awk 'NR > 1 { print $2 }' /proc/sysvipc/shm 2> /dev/null
}

_hugepoison_inject_nodes()
{
	local dir

	for dir in /sys/devices/system/node/node[0-9]*; do
		[ ! -e "$dir" ] || echo "${dir##*/node}"
	done
}

_hugepoison_inject_sizes()
{
	local dir kb

	for dir in /sys/kernel/mm/hugepages/hugepages-*kB; do
		kb=${dir##*-}
		case $kb in
		1048576kB) echo 1G ;;
		*) echo "$((${kb%kB} / 1024))M" ;;
		esac
	done 2> /dev/null
}

# The tool's --help lists its commands, and the options of each.
_hugepoison_inject_commands()
{
	"$1" --help 2> /dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p'
}

_hugepoison_inject_options()
{
	"$1" "$2" --help 2> /dev/null | grep -oE '^ +(-., )?--[a-z-]+' |
		grep -oE -- '--[a-z-]+'
}

_hugepoison_inject()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} list
	local tool=${COMP_WORDS[0]} command=${COMP_WORDS[1]} item

	# readline takes --via=x for three words, --via, = and x
	if [ "$word" = = ]; then
		word=
	elif [ "$before" = = ]; then
		before=${COMP_WORDS[COMP_CWORD-2]}
	fi

	case $before in
	--pid | --all-of) list=$(_hugepoison_inject_pids) ;;
	--file) list=$(_hugepoison_inject_files) ;;
	--shmid) list=$(_hugepoison_inject_segments) ;;
	--node) list=$(_hugepoison_inject_nodes) ;;
	--size) list=$(_hugepoison_inject_sizes) ;;
	--via) list=$'corrupt-pfn\nhard-offline\nsoft-offline\nmadvise\nmce-inject' ;;
	--subpage) list=$'head\ntail\nrandom' ;;
	--state) list=$'free\nreserved\nshared\nprivate\nunfaulted\npinned' ;;
	--report | --output | --from) list=$(compgen -f -- "$word") ;;
	--triggers) list=$(compgen -d -- "$word") ;;
	--forget) list=$("$tool" remember 2> /dev/null | grep -o '^0x[0-9a-f]*') ;;
	--offset | --addr | --pfn | --hugepage | --delay | --count | --rate | --duration | --seed | \
	--max-loss) list= ;;
	*)
		if [ "$COMP_CWORD" = 1 ] && [[ $word != -* ]]; then
			list=$(_hugepoison_inject_commands "$tool")
		elif [[ $command == -* ]]; then
			list=$(_hugepoison_inject_options "$tool" status)
		else
			list=$(_hugepoison_inject_options "$tool" "$command")
		fi ;;
	esac
	# not compgen -W, which would run $() in a file's name
	COMPREPLY=()
	while read -r item; do
		[[ -z $item || $item != "$word"* ]] || COMPREPLY+=("$(printf '%q' "$item")")
	done <<< "$list"
}

complete -F _hugepoison_inject hugepoison-inject hugepoisonctl
