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

# What is printed is what makes it fail; all mistakes at once, as each build takes
# some seconds.
@test "each mistake of ours is a failure, named by its file" {
	printf '\nToo short\n=====\n\nText.\n' >> "$tree/Documentation/mm/hugepoison.rst"
	sed -i 's/^.*the file is sealed/a word that is too wide for its column/' \
		"$tree/Documentation/admin-guide/mm/hugepoison.rst"
	sed -i '/^ \* @inode: the file/d' "$tree/mm/hugepoison/heal.c"
	rm "$tree/mm/hugepoison/remnant.c"
	sed -i '/^   hugepoison$/d' "$tree/Documentation/mm/index.rst"
	sed -i '0,/^Description:/s//Text:/' "$tree/Documentation/ABI/testing/sysfs-kernel-mm-hugepoison"
	run -1 "$docs" --output "$out" "$tree"
	assert_says 'complaints about our files'
	assert_line 'Documentation/mm/hugepoison.rst:[0-9]*: WARNING: Title underline too short'
	assert_line 'Documentation/admin-guide/mm/hugepoison.rst:[0-9]*: .*[Tt]able'
	assert_line "mm/hugepoison/heal.c:.*'inode' not described"
	assert_line 'mm/hugepoison/remnant.c'
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

# What the documents say of files and events is what the code has.

names_in_code()
{
	sed -n '/hugepoison_actions\[\] = {/,/^};/s/^\t*"\([a-z]*\)".*/\1/p' \
		"$BATS_TEST_DIRNAME/../mm/memory-failure.c"
}

@test "each outcome has its counter described, and no other is" {
	cd "$BATS_TEST_DIRNAME/../Documentation" || return
	names_in_code | sort > "$BATS_TEST_TMPDIR/code"
	[ "$(wc -l < "$BATS_TEST_TMPDIR/code")" -ge 11 ]
	sed -n 's/^What:.*kB\/\([a-z_]*\)$/\1/p' ABI/testing/sysfs-kernel-mm-hugepoison |
		grep -vx -e mce_bad_pages -e poisoned_hugepages | sort |
		diff "$BATS_TEST_TMPDIR/code" -
	while read -r name; do
		grep -qE "^$name  |\`\`$name\`\`" admin-guide/mm/hugepoison.rst ||
			{ echo "$name is not described"; return 1; }
	done < "$BATS_TEST_TMPDIR/code"
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

# What is said of operations.

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

# The command of the crontab, with a tool that says and ends as it is told to.
run_cron_line()
{
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	printf '#!/bin/sh\necho "$*: new"\nexit %s\n' "$1" > "$BATS_TEST_TMPDIR/bin/hugepoison-inject"
	chmod +x "$BATS_TEST_TMPDIR/bin/hugepoison-inject"
	[ "$(grep -c '^\*' "$operations/hugepoison.cron")" = 1 ]
	METRICS=$BATS_TEST_TMPDIR/hugepoison.prom PATH=$BATS_TEST_TMPDIR/bin:$PATH \
		sh -c "$(sed -n 's/^\*\([^\t]*\)\troot\t//p' "$operations/hugepoison.cron")"
}

@test "the crontab writes the metrics, and leaves the old ones where it fails" {
	run_cron_line 0
	grep -qx 'status --prometheus: new' "$BATS_TEST_TMPDIR/hugepoison.prom"
	echo old > "$BATS_TEST_TMPDIR/hugepoison.prom"
	run -1 run_cron_line 1
	[ "$(cat "$BATS_TEST_TMPDIR/hugepoison.prom")" = old ]
}

@test "links in our documents lead somewhere" {
	cd "$BATS_TEST_DIRNAME/.." || return
	links=0
	while IFS=: read -r file link; do
		links=$((links + 1))
		[ -e "$(dirname "$file")/${link%%#*}" ] || { echo "$file: $link"; return 1; }
	done < <(grep -oHE '\]\([^):]+\)' README.md docs/*.md examples/*.md | sed 's/\](\(.*\))/\1/')
	[ $links -ge 8 ]
}
