#!/usr/bin/env bats
# scripts/series on copies of series/ with one mistake each, and what it writes.
# Needs the mounted tree of the newest Linux: KERNEL=7.3 make mount.

bats_require_minimum_version 1.5.0

setup()
{
	top=$BATS_TEST_DIRNAME/..
	cd "$top" || return
	export SERIES_STEPS=$BATS_TEST_TMPDIR/series
	cp -r series "$SERIES_STEPS"
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

# A copy of our code, which scripts then take for the repository.
copy_of_our_code()
{
	export HUGEPOISON_TOP=$BATS_TEST_TMPDIR/top
	mkdir "$HUGEPOISON_TOP"
	cp -r mm include hooks compat Documentation tools tests "$HUGEPOISON_TOP"
}

@test "a name in two steps is refused" {
	echo 'names: hugepoison_mark' >> "$SERIES_STEPS/08-accounting"
	assert_refused "08-accounting: hugepoison_mark is in an earlier step already"
}

@test "a word that is no directive is refused" {
	echo 'hook: hugepoison_mark' >> "$SERIES_STEPS/07-marks"
	assert_refused "what is this: hook: hugepoison_mark"
}

@test "a name that is nowhere: its new name is guessed" {
	sed -i 's/hugepoison_log_not_replaced/hugepoison_log_not_replace/' "$SERIES_STEPS/13-replace"
	assert_refused "hugepoison_log_not_replace, of $SERIES_STEPS/13-replace, is nowhere in our code"
	assert_says "remedy: write its new name there, hugepoison_log_not_replaced?"
}

@test "a hook in no step, and one that is not there" {
	sed -i 's/ split_huge_page$/ split_page/' "$SERIES_STEPS/09-detection"
	assert_refused "the hook split_huge_page is in no step"
	assert_says "remedy: add it to the line hooks: of the step"
	assert_says "the hook split_page, of $SERIES_STEPS/09-detection, is not there"
}

@test "a file in no step, and one that is not there" {
	docs=$(echo "$SERIES_STEPS"/*-docs)
	sed -i 's|^files: Documentation/$|files: Documentation/mm/ mm/hugepoison/cure.c|' "$docs"
	assert_refused "Documentation/admin-guide/mm/hugepoison.rst is in no step"
	assert_says "mm/hugepoison/cure.c, of $docs, is not there"
}

@test "a function that is called before it comes: the step says what it does until then" {
	sed -i 's/^stubs: hugepoison_zap_hugepage /stubs: /' "$SERIES_STEPS/06-containment"
	assert_refused "hugepoison_zap_hugepage is called from step 6 on and comes in step 11"
	assert_says "remedy: add it to the line stubs: of $SERIES_STEPS/06-containment if it may do nothing"
}

@test "what a step says in vain is an error" {
	echo 'stub hugepoison_heal_hole return 0;' >> "$SERIES_STEPS/07-marks"
	assert_refused "hugepoison_heal_hole has a stub in $SERIES_STEPS/07-marks, and is never called"
	sed -i '/^stub hugepoison_heal_hole/d' "$SERIES_STEPS/07-marks"
	sed -i 's/^names: /&struct_hugepoison_record /' "$SERIES_STEPS/11-narrow"
	assert_refused "struct_hugepoison_record, of $SERIES_STEPS/11-narrow, is no function, and is used"
}

@test "a renamed function, one in another file, a new file need no change" {
	copy_of_our_code
	cd "$HUGEPOISON_TOP"
	sed -i 's/\<hugepoison_retire_all\>/hugepoison_mark_whole/' mm/*.c mm/tests/*.c
	sed -n '/^static void hugepoison_log(/,/^}/p' mm/record.c > mm/log.c
	[ -s mm/log.c ]
	sed -i '/^static void hugepoison_log(/,/^}/d' mm/record.c
	sed -i 's/^#include "record.c"$/#include "log.c"\n&/' mm/memory-failure.c
	cd "$OLDPWD"
	run -0 scripts/series --check
	run -0 scripts/series --why hugepoison_mark_whole
	assert_says "from step 6 on, used by hugepoison_become"
	run -0 scripts/series --why hugepoison_log
}

@test "--check says that all fits, or what does not and what to do" {
	run -0 scripts/series --check
	assert_says "steps fit our files, for the newest"
	assert_says "steps fit our files, for 6.12"
	sed -i 's/ copy_page_range / /' "$SERIES_STEPS/11-narrow"
	run -1 scripts/series --check
	assert_says "the hook copy_page_range is in no step"
	assert_says "remedy: add it to the line hooks: of the step"
}

@test "--check looks at the series for 6.12 as well" {
	printf '#if 6.12\nnames: hugepoison_is_nowhere\n#endif\n' >> "$SERIES_STEPS/07-marks"
	run -1 scripts/series --check
	assert_says "steps fit our files, for the newest"
	assert_says "series: for 6.12: the steps do not fit our files any more"
	assert_says "hugepoison_is_nowhere"
}

@test "without a mounted tree it says how to get one" {
	KERNEL=9.9 run -1 scripts/series --any-author --out "$out"
	assert_says "nothing is mounted in build/9.9/linux-hugepoison: run KERNEL=9.9 make mount"
	[ ! -e "$out" ]
}

@test "make series is for the newest Linux unless KERNEL says another" {
	for words in :7.3 7.3:7.3 6.12:6.12 debug:7.3 7.3/debug:7.3; do
		run -0 make -s -n series KERNEL="${words%:*}"
		assert_says "KERNEL=${words#*:} scripts/build mount"
		assert_says "KERNEL=${words#*:} scripts/series"
	done
}

@test "why a function comes when it does" {
	run -0 scripts/series --why hugepoison_add_deficit
	assert_says "from step 12 on, used by hugepoison_pool_exchange; a stub until step 13, which names it"
}

@test "what a step brings is not there before it, and all of it is there in the end" {
	run -0 scripts/series --states --out "$out"
	run -1 grep -rq 'hugepoison_heal_hole(.*[a-z]' "$out/steps/14"
	grep -rq 'hugepoison_heal_hole(.*[a-z]' "$out/steps/15"
	run -1 grep -q hugepoison "$out/steps/00/mm/memory-failure.c"
	# a stub, then the function
	grep -A1 -x 'static void hugepoison_add_deficit(.*)' "$out/steps/12/mm/hugepoison/pool.c" > /dev/null
	run -1 grep -q hugepoison_clear_deficit "$out/steps/12/mm/hugepoison/pool.c"
	grep -q hugepoison_clear_deficit "$out/steps/13/mm/hugepoison/pool.c"
	last=$(printf '%s\n' "$out"/steps/* | tail -n 1)
	for file in mm/hugepoison/narrow.c include/linux/hugepoison.h mm/hugetlb.c MAINTAINERS; do
		cmp "$last/$file" "build/7.3/linux-hugepoison/$file"
	done
}

@test "a message has the lines for its kernel only" {
	run -0 scripts/series --states --out "$out"
	run -0 git -C "$out/git" log --format=%B
	assert_says "fills by operations"
	[[ $output != *'#if'* && $output != *'#endif'* && $output != *'Bad page state'* ]]
}

@test "what checkpatch says without a reason given is an error" {
	sed -i '/^PARENTHESIS_ALIGNMENT/d' "$SERIES_STEPS/exceptions"
	run -1 scripts/series --any-author --out "$out"
	assert_says "CHECK:PARENTHESIS_ALIGNMENT"
	[[ $output =~ checkpatch:\ [0-9]+\ findings\ that\ series/exceptions\ gives\ no\ reason\ for ]]
}

@test "the cover letter ends with the tag that the series applies to, or its commit's id" {
	id=0123456789abcdef0123456789abcdef01234567
	run -0 scripts/series --any-author --out "$out"
	release=$(awk '$1 ~ /^(VERSION|PATCHLEVEL|SUBLEVEL)$/ { printf "%s%s", dot, $3; dot = "." } NR == 4 { exit }' \
		build/7.3/source/Makefile)
	[ "$(tail -n 1 "$out/0000-cover-letter.patch")" = "base: v$release (tag), Debian's linux-source-7.3 $(cat build/7.3/source/.unpacked)" ]
	run -1 grep -rq base-commit "$out"/*.patch
	run -0 scripts/series --any-author --base-commit "$id" --out "$out"
	[ "$(tail -n 1 "$out/0000-cover-letter.patch")" = "base-commit: $id" ]
	run -2 scripts/series --base-commit v7.3.4 --out "$out"
	assert_says "v7.3.4 is no commit id of 40 hex digits"
}

@test "a placeholder is no author, unless told so" {
	for from in 'A Person <person@example.com>' 'A Person <person@mail.example>' \
			'A Person <12+person@users.noreply.github.com>' 'A Person <noreply@kernel.org>' \
			'A Person <person@localhost>' 'A Person <person@host.localdomain>' \
			'A Person <person@host>' 'A Person <>' 'A Person <@kernel.org>' \
			'<person@kernel.org>' 'root <person@kernel.org>' 'Your Name <person@kernel.org>' \
			'A Person <you@kernel.org>' 'person@kernel.org <person@kernel.org>'; do
		SERIES_FROM=$from run -1 scripts/series --out "$out"
		assert_says "is a placeholder, by the"
		assert_says "say SERIES_FROM='YOUR NAME <YOUR ADDRESS>', or --any-author"
		[ ! -e "$out" ]
	done
	SERIES_FROM='A Person' run -1 scripts/series --out "$out"
	assert_says "SERIES_FROM=A Person is not 'NAME <ADDRESS>'"
	SERIES_FROM='' run -1 scripts/series --out "$out"
	[ ! -e "$out" ]
}

@test "a person is an author" {
	for from in 'A Person <person@kernel.org>' 'Jörg Müller-Example <examples@noreplying.de>'; do
		KERNEL=9.9 SERIES_FROM=$from run -1 scripts/series --out "$out"
		assert_says "nothing is mounted"
	done
}

@test "a tree without git is refused, with the remedy" {
	copy_of_our_code
	run -1 scripts/series --any-author --out "$out"
	assert_says "no git repository"
	assert_says "run git init, git add -A and git commit there"
	[ ! -e "$out" ]
}
