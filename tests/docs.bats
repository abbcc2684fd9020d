#!/usr/bin/env bats
# scripts/docs on a tree that has what our documents need of the mounted kernel
# source (make mount), and a mistake in one of them.

bats_require_minimum_version 1.5.0

setup_file()
{
	local source=$BATS_TEST_DIRNAME/../build/linux-hugepoison

	[ -d "$source" ] || { echo "no mounted source: run 'make mount'"; return 1; }
	export whole=$BATS_FILE_TMPDIR/tree
	mkdir "$whole"
	cd "$source" || return
	cp -r --parents -t "$whole" Documentation/{conf.py,index.rst,sphinx,sphinx-static,images} \
		Documentation/admin-guide/{abi-testing.rst,mm/{index,hugepoison}.rst} \
		Documentation/mm/{index,hugepoison}.rst \
		Documentation/ABI/testing/sysfs-kernel-mm-hugepoison \
		include/linux/hugepoison.h mm/hugepoison scripts/{kernel-doc,get_abi.pl} Makefile
}

setup()
{
	docs=$BATS_TEST_DIRNAME/../scripts/docs
	tree=$BATS_TEST_TMPDIR/tree
	out=$BATS_TEST_TMPDIR/out
	cp -r "$whole" "$tree"
}

assert_says()
{
	[[ $output == *"$1"* ]] || { echo "no '$1' in: $output"; return 1; }
}

assert_line()
{
	grep -qe "$1" <<< "$output" || { echo "no line '$1' in: $output"; return 1; }
}

@test "documents without a mistake are built" {
	run -0 "$docs" --output "$out" "$tree"
	grep -q 'hugepoison_heal_hole' "$out/html/mm/hugepoison.html"
	grep -q 'mce_bad_pages' "$out/html/admin-guide/mm/hugepoison.html"
	grep -q 'mce_bad_pages' "$out/html/admin-guide/abi-testing.html"
}

# Each test prints all mistakes at once, as each build takes some seconds.
@test "each mistake of ours is a failure, named by its file" {
	printf '\nToo short\n=====\n\nText.\n' >> "$tree/Documentation/mm/hugepoison.rst"
	sed -i 's/^.*the file is sealed/a word that is too wide for its column/' \
		"$tree/Documentation/admin-guide/mm/hugepoison.rst"
	sed -i '/^ \* @inode: the file/d' "$tree/mm/hugepoison/heal.c"
	rm "$tree/mm/hugepoison/promote.c"
	sed -i '/^   hugepoison$/d' "$tree/Documentation/mm/index.rst"
	sed -i '0,/^Description:/s//Text:/' "$tree/Documentation/ABI/testing/sysfs-kernel-mm-hugepoison"
	run -1 "$docs" --output "$out" "$tree"
	assert_says 'complaints about our files'
	assert_line 'Documentation/mm/hugepoison.rst:[0-9]*: WARNING: Title underline too short'
	assert_line 'Documentation/admin-guide/mm/hugepoison.rst:[0-9]*: .*[Tt]able'
	assert_line "mm/hugepoison/heal.c:.*'inode' not described"
	assert_line 'mm/hugepoison/promote.c'
	assert_line "Documentation/mm/hugepoison.rst: WARNING: document isn't included in any toctree"
	assert_line 'sysfs-kernel-mm-hugepoison'
}

@test "what is wrong in the kernel's own documents does not count" {
	printf '\nTheirs\n====\n' >> "$tree/Documentation/mm/index.rst"
	run -0 "$docs" --output "$out" "$tree"
	grep -q 'Documentation/mm/index.rst:.*Title underline too short' "$out/log"
}

@test "a tree without our documents is refused" {
	rm "$tree/Documentation/mm/hugepoison.rst"
	run -1 "$docs" --output "$out" "$tree"
	assert_says 'has no Documentation/mm/hugepoison.rst: run scripts/mount'
	[ ! -e "$out" ]
}

@test "a directory with other files in it is not emptied" {
	mkdir "$out"
	touch "$out/precious" "$out/log"
	run -1 "$docs" --output "$out" "$tree"
	assert_says 'files in it that are not ours'
	[ -e "$out/precious" ]
}

# The documents name exactly the files and events of the code.

names_in_code()
{
	sed -n '/hugepoison_actions\[\] = {/,/^};/s/^\t*"\([a-z]*\)".*/\1/p' \
		"$BATS_TEST_DIRNAME/../mm/record.c"
}

@test "each outcome has its counter described, and no other is" {
	cd "$BATS_TEST_DIRNAME/../Documentation" || return
	names_in_code | sort > "$BATS_TEST_TMPDIR/code"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/code")" -ge 12 ]
	abi=ABI/testing/sysfs-kernel-mm-hugepoison
	sed -n 's/^What:.*kB\/\([a-z_]*\)$/\1/p' $abi |
		grep -vx -e mce_bad_pages -e poisoned_hugepages | sort > "$BATS_TEST_TMPDIR/described"
	while read -r name; do
		echo "Documentation/$abi has no What: of the counter $name: describe it there"
	done < <(comm -23 "$BATS_TEST_TMPDIR/code" "$BATS_TEST_TMPDIR/described") > "$BATS_TEST_TMPDIR/missing"
	while read -r name; do
		echo "Documentation/$abi describes $name, which is no outcome in mm/record.c: take it out"
	done < <(comm -13 "$BATS_TEST_TMPDIR/code" "$BATS_TEST_TMPDIR/described") >> "$BATS_TEST_TMPDIR/missing"
	while read -r name; do
		grep -qE "^$name  |\`\`$name\`\`" admin-guide/mm/hugepoison.rst ||
			echo "Documentation/admin-guide/mm/hugepoison.rst has no $name: add it to the table of how errors ended"
	done < "$BATS_TEST_TMPDIR/code" >> "$BATS_TEST_TMPDIR/missing"
	cat "$BATS_TEST_TMPDIR/missing"
	[ ! -s "$BATS_TEST_TMPDIR/missing" ]
}

@test "each function that a document names is there" {
	cd "$BATS_TEST_DIRNAME/.." || return
	grep -ohE '\b(hugepoison|hugepage|me)_[a-z_]+\(\)' Documentation/mm/hugepoison.rst |
		tr -d '()' | sort -u > "$BATS_TEST_TMPDIR/names"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/names")" -ge 20 ]
	while read -r name; do
		grep -qE "\b$name\(" mm/*.c include/linux/*.h || { echo "no $name()"; return 1; }
	done < "$BATS_TEST_TMPDIR/names"
}

# The documents about operations.

operations=$BATS_TEST_DIRNAME/../docs/operations

@test "each event that the alerts ask for is an outcome" {
	names_in_code > "$BATS_TEST_TMPDIR/code"
	grep -ohE 'event=~?"[a-z|]+"' "$operations/hugepoison-alerts.yml" |
		sed 's/.*"\(.*\)"/\1/' | tr '|' '\n' | sort -u > "$BATS_TEST_TMPDIR/events"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/events")" -ge 8 ]
	run -1 grep -vxFf "$BATS_TEST_TMPDIR/code" "$BATS_TEST_TMPDIR/events"
}

@test "each alert has a line in operations.md, and each line an alert" {
	sed -n 's/^ *- alert: //p' "$operations/hugepoison-alerts.yml" | sort > "$BATS_TEST_TMPDIR/alerts"
	[ -s "$BATS_TEST_TMPDIR/alerts" ]
	sed -n 's/^| .\(Hugepoison[A-Za-z]*\).*/\1/p' "$operations.md" | sort |
		diff "$BATS_TEST_TMPDIR/alerts" -
}

# run_trigger ACTIVE STATUS: the trigger for metrics, with a systemctl and a tool whose output
# and status the test sets
run_trigger()
{
	local bin=$BATS_TEST_TMPDIR/bin

	mkdir -p "$bin"
	printf '#!/bin/sh\n[ "$*" = "--quiet is-active hugepoison-metrics.timer" ] && exit %s\n' "$1" > "$bin/systemctl"
	printf '#!/bin/sh\necho "$*" >> %s/ran\nexit %s\n' "$BATS_TEST_TMPDIR" "$2" > "$bin/hugepoisonctl"
	chmod +x "$bin"/*
	sed "s|/usr/sbin/hugepoisonctl|$bin/hugepoisonctl|" "$operations/../../tools/triggers.d/50-metrics" > "$bin/trigger"
	PATH=$bin:$PATH sh "$bin/trigger"
}

@test "the trigger writes the metrics where the timer is active, by the same path" {
	run -0 run_trigger 3 0
	[ ! -e "$BATS_TEST_TMPDIR/ran" ]
	run -0 run_trigger 0 0
	path=$(sed -n 's/^ExecStart=.* --output //p' "$operations/../../tools/systemd/hugepoison-metrics.service")
	[ "$(cat "$BATS_TEST_TMPDIR/ran")" = "status --prometheus --output $path" ]
	run -4 run_trigger 0 4
	# ... everywhere
	run -0 grep -rhoE '/var/lib/[a-z_/-]*hugepoison\.prom' "$operations" "$operations.md" "$operations/../../tools"
	[ "$(sort -u <<< "$output")" = "$path" ]
}

@test "what node-problem-detector looks for is what the monitor says" {
	printf ' x-9 [001] d..1. 1.0: hugepoison_%s: pfn=0x5285 size=2048kB node=1 outcome=%s duration=1ns\n' \
		contain narrowed contain failed replace failed > "$BATS_TEST_TMPDIR/trace"
	make -s -C "$BATS_TEST_DIRNAME/../tools"
	unshare --mount sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' sh \
		"$BATS_TEST_DIRNAME/../build/tools/hugepoisonctl" monitor --journal --from "$BATS_TEST_TMPDIR/trace" \
		> "$BATS_TEST_TMPDIR/said" 2> /dev/null
	[ "$(jq '.rules | length' "$operations/node-problem-detector.json")" = 3 ]
	while read -r pattern; do
		[ "$(grep -cE "^<[0-9]>$pattern\$" "$BATS_TEST_TMPDIR/said")" = 1 ]
	done < <(jq -r '.rules[].pattern' "$operations/node-problem-detector.json")
	grep -qF 'printf(f, "MESSAGE_ID=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=hugepoison\n' "$BATS_TEST_DIRNAME/../tools/notify.c"
	[ "$(jq -r .pluginConfig.source "$operations/node-problem-detector.json")" = hugepoison ]
}

@test "the units: systemd finds nothing wrong, no cycle, and each command is one of ours" {
	root=$BATS_TEST_TMPDIR/root
	make -s -C "$BATS_TEST_DIRNAME/../tools" install DESTDIR="$root" prefix=/usr unitdir=/usr/lib/systemd/system
	sed -i "s|/usr/sbin/hugepoisonctl|$root/usr/sbin/hugepoisonctl|" "$root"/usr/lib/systemd/system/*.service
	run -0 systemd-analyze verify --man=no "$root"/usr/lib/systemd/system/hugepoison-*
	[ -z "$output" ]
	grep -hoE 'hugepoisonctl [a-z].*' "$BATS_TEST_DIRNAME"/../tools/systemd/*.service | while read -r _ words; do
		# shellcheck disable=SC2086 # words
		"$root/usr/sbin/hugepoisonctl" $words --usage > /dev/null
	done
}

# Log texts that others may match are in the admin guide, as the code has them.

guide=$BATS_TEST_DIRNAME/../Documentation/admin-guide/mm/hugepoison.rst

@test "each stable text of the log is in the code" {
	sed -n '/^The kernel log$/,/^OUTCOME is/s/^    //p' "$guide" > "$BATS_TEST_TMPDIR/texts"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/texts")" = 8 ]
	cat "$BATS_TEST_DIRNAME"/../mm/*.c | tr '\n' ' ' |
		sed 's/"[[:space:]]*"//g; s/%#lx/<PFN>/g; s/%l[ud]/<N>/g; s/%d/<N>/g' > "$BATS_TEST_TMPDIR/code"
	while read -r text; do
		# %s is an outcome or a reason
		text=$(sed 's/^hugepoison: //; s/<OUTCOME>\|<REASON>/%s/' <<< "$text")
		grep -qF -- "\"$text\\n\"" "$BATS_TEST_TMPDIR/code" || grep -qF -- "\"${text%%: %s}: " "$BATS_TEST_TMPDIR/code" ||
			{ echo "not in the code: $text"; return 1; }
	done < "$BATS_TEST_TMPDIR/texts"
}

@test "each outcome's text of the log is in the guide, and no other is" {
	sed -n '/^OUTCOME is/,/^Other messages/s/^\([a-z]*\)  *\([^=].*\)/\1: \2/p' "$guide" |
		grep -v '^counter:' | sort > "$BATS_TEST_TMPDIR/texts"
	sed -n '/hugepoison_actions\[\]/,/^};/s/.*"\([a-z]*\)", "\(.*\)",.*/\1: \2/p' "$BATS_TEST_DIRNAME/../mm/record.c" |
		sort | diff - "$BATS_TEST_TMPDIR/texts"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/texts")" = 11 ]
}

documents=(README.md HACKING.md docs/*.md examples/*.md tests/*.md tests/fuzz/*.md)

@test "links in our documents lead somewhere" {
	cd "$BATS_TEST_DIRNAME/.." || return
	links=0
	# shellcheck disable=SC2068 # patterns
	while IFS=: read -r file link; do
		links=$((links + 1))
		[ -e "$(dirname "$file")/${link%%#*}" ] || { echo "$file: $link"; return 1; }
	done < <(grep -oHE '\]\([^):]+\)' ${documents[@]} | sed 's/\](\(.*\))/\1/')
	[ $links -ge 60 ]
}

@test "each page of docs/ is in its list" {
	cd "$BATS_TEST_DIRNAME/../docs" || return
	for page in *.md; do
		[ "$page" = README.md ] || grep -qF "]($page)" README.md ||
			{ echo "docs/README.md has no link to $page: say what it is for"; return 1; }
	done
}

@test "the map in HACKING.md has each script, and nothing that is not there" {
	cd "$BATS_TEST_DIRNAME/.." || return
	for script in scripts/*; do
		[ -d "$script" ] || grep -qF "\`$script\`" HACKING.md ||
			{ echo "HACKING.md has no $script: say what it is for"; return 1; }
	done
	names=0
	# shellcheck disable=SC2016 # Markdown's
	while read -r name; do
		names=$((names + 1))
		compgen -G "$name" > /dev/null || { echo "HACKING.md names $name, which is not there"; return 1; }
	done < <(cut -d '|' -f 2 <<< "$(grep '^|' HACKING.md)" | grep -oE '`(mm|include|hooks|tests|tools|series|docs|scripts|configs|proofs|demo|examples|debian|Documentation)/[^` ]*`' |
		tr -d '`')
	[ $names -ge 40 ]
}

# README.md's figures agree with these documents.

@test "the README's figures of the demo are the demo's" {
	cd "$BATS_TEST_DIRNAME/.." || return
	run -0 python3 -B - <<-'EOF'
		import re
		section, demo, rows = "", set(), 0
		for line in open("docs/demo.md"):
		    if re.match("    [a-z]", line):
		        section = line.strip()
		    elif row := re.match("      ([a-z].*)", line):
		        demo.add((section, *re.split("  +", row[1])))
		section = ""
		for line in open("README.md"):
		    what, *figures = [cell.strip() for cell in line.strip().strip("|").split("|")]
		    if figures[:1] == ["stock"]:
		        section = what
		    elif not figures:
		        section = ""
		    elif section and what[0] != "-":
		        rows += 1
		        assert {(section, what, *figures), ("in the end", what, *figures)} & demo, line
		assert rows >= 7, rows
	EOF
}

@test "the README's figures of cost, time and memory are those that checks keep to" {
	cd "$BATS_TEST_DIRNAME/.." || return
	run -0 scripts/size
	run -0 python3 -B - <<-'EOF'
		import re, sys
		sys.path.insert(0, "scripts")
		from loading import load
		bench, text = load("bench"), " ".join(open("README.md").read().split())
		limits = []
		for row in bench.ROWS:
		    if row[0].startswith("an error"):
		        break
		    limits += [row[2]] if len(row) > 1 else []
		most = f"{(max(limits) - 1) * 100:.1f} % more instructions"
		assert most in text, most
		hostile = open("docs/hostile.md").read().partition("<!-- after")[2]
		worst = max(float(row.split()[-6]) for row in re.findall(r"^ +(?:error|\.\.\.) .* x  \w+$", hostile, re.M))
		slowest = f"the slowest signal for a raw page came {worst:.1f} ms after the report"
		assert slowest in text, slowest
		memory = lambda text: max(map(int, re.findall(r"memory'?,? '?(\d+)G", text)))
		demo, check = memory(open("scripts/demo").read()), memory(open("tests/checks").read())
		wants = f"`make demo` wants {demo} GiB of free memory, `make check` {check} GiB"
		assert wants in text, wants
	EOF
}
