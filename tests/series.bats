#!/usr/bin/env bats
# scripts/series on copies of series/ with one mistake each, and what it writes.
# Needs a mounted tree: make mount.

bats_require_minimum_version 1.5.0

setup()
{
	top=$BATS_TEST_DIRNAME/..
	cd "$top" || return
	export SERIES=$BATS_TEST_TMPDIR/series
	cp -r series "$SERIES"
	out=$BATS_TEST_TMPDIR/out
}

assert_says()
{
	[[ $output == *"$1"* ]] || { echo "no '$1' in: $output"; return 1; }
}

# Nothing was written.
assert_refused()
{
	run -1 scripts/series --states --out "$out"
	assert_says "$1"
	[ ! -e "$out" ]
}

@test "a step that names what is not there is refused" {
	sed -i '0,/^names:/s//names: hugepoison_nowhere/' "$SERIES/05-accounting"
	assert_refused "named by a step, but nowhere in our files: hugepoison_nowhere"
}

@test "a name in two steps is refused" {
	sed -i '0,/^names:/s//names: hugepoison_mark/' "$SERIES/05-accounting"
	assert_refused "05-accounting: hugepoison_mark is in an earlier step already"
}

@test "a hook in no step is refused" {
	sed -i 's/ split_huge_page$//' "$SERIES/07-detection"
	assert_refused "the hook split_huge_page is in no step"
}

@test "a file in no step is refused" {
	sed -i 's|^files: mm/hugepoison/heal.c||' "$SERIES/13-heal"
	assert_refused "mm/hugepoison/heal.c is in no step"
}

@test "an edit that does not fit our file is refused" {
	sed -i 's/^+	bool narrow = hugepoison_may_narrow(err);$/+	bool narrower;/' "$SERIES/09-narrow"
	assert_refused "09-narrow: mm/hugepoison/memory-failure.c has 0 times, not once"
}

@test "a word that is no directive is refused" {
	echo 'hook: hugepoison_mark' >> "$SERIES/04-marks"
	assert_refused "what is this: hook: hugepoison_mark"
}

@test "what a step brings is not there before it, and all of it is there in the end" {
	run -0 scripts/series --states --out "$out"
	run -1 grep -rq hugepoison_heal_hole "$out/steps/12"
	grep -rq hugepoison_heal_hole "$out/steps/13"
	run -1 grep -q hugepoison "$out/steps/00/mm/memory-failure.c"
	for file in mm/hugepoison/narrow.c include/linux/hugepoison.h mm/hugetlb.c MAINTAINERS; do
		cmp "$out/steps/20/$file" "build/linux-hugepoison/$file"
	done
}

@test "what checkpatch says without a reason given is an error" {
	sed -i '/^AVOID_BUG/d' "$SERIES/exceptions"
	run -1 scripts/series --out "$out"
	assert_says "WARNING:AVOID_BUG"
	assert_says "checkpatch: 2 findings that series/exceptions gives no reason for"
}
