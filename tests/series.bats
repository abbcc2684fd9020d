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

# The step with these words, an extended regular expression, and a step's number.
with()
{
	grep -lE "$1" "$SERIES_STEPS"/[0-9]*
}

number_of()
{
	local name

	name=$(basename "$1")
	echo $((10#${name%%-*}))
}

# A copy of our code, which scripts then take for the repository.
copy_of_our_code()
{
	export HUGEPOISON_TOP=$BATS_TEST_TMPDIR/top
	mkdir "$HUGEPOISON_TOP"
	cp -r mm include hooks compat Documentation tools tests "$HUGEPOISON_TOP"
}

@test "a name in two steps is refused" {
	echo 'names: hugepoison_mark' >> "$(with 'names:.* hugepoison_account\>')"
	assert_refused "-accounting: hugepoison_mark is in an earlier step already"
}

@test "a word that is no directive is refused" {
	echo 'hook: hugepoison_mark' >> "$(with 'names: hugepoison_mark$')"
	assert_refused "what is this: hook: hugepoison_mark"
}

@test "a name that is nowhere: its new name is guessed" {
	step=$(with hugepoison_log_not_replaced)
	sed -i 's/hugepoison_log_not_replaced/hugepoison_log_not_replace/' "$step"
	assert_refused "hugepoison_log_not_replace, of $step, is nowhere in our code"
	assert_says "remedy: write its new name there, hugepoison_log_not_replaced?"
}

@test "a hook in no step, and one that is not there" {
	step=$(with '^hooks:.* split_huge_page\>')
	sed -i 's/ split_huge_page\>/ split_page/' "$step"
	assert_refused "the hook split_huge_page is in no step"
	assert_says "remedy: add it to the line hooks: of the step"
	assert_says "the hook split_page, of $step, is not there"
}

@test "a file in no step, and one that is not there" {
	step=$(with '^files: Documentation/admin-guide/mm/hugepoison.rst$')
	sed -i 's|^files: .*/hugepoison.rst$|files: mm/hugepoison/cure.c|' "$step"
	assert_refused "Documentation/admin-guide/mm/hugepoison.rst is in no step"
	assert_says "mm/hugepoison/cure.c, of $step, is not there"
}

@test "a function that is called before it comes: the step says what it does until then" {
	step=$(with '^stubs:.* hugepoison_zap_hugepage\>')
	sed -i 's/ hugepoison_zap_hugepage\>//' "$step"
	assert_refused "hugepoison_zap_hugepage is called from step $(number_of "$step") on and comes in step"
	assert_says "remedy: add it to the line stubs: of $step if it may do nothing"
}

@test "what a step says in vain is an error" {
	step=$(with 'names: hugepoison_mark$')
	echo 'stub hugepoison_heal_hole return 0;' >> "$step"
	assert_refused "hugepoison_heal_hole has a stub in $step, and is never called"
	sed -i '/^stub hugepoison_heal_hole/d' "$step"
	step=$(with '^names:.* containment_attr\>')
	sed -i 's/^names: /&struct_hugepoison_record /' "$step"
	assert_refused "struct_hugepoison_record, of $step, is no function, and is used"
}

@test "a renamed function, one in another file, a new file need no change" {
	copy_of_our_code
	cd "$HUGEPOISON_TOP"
	sed -i 's/\<hugepoison_retire_all\>/hugepoison_mark_whole/' mm/*.c mm/tests/*.c
	printf '%s\n' '/*' ' * Memory errors in hugepages: the log.' ' */' '#include "internal.h"' > mm/log.c
	sed -n '/^static void hugepoison_log(/,/^}/p' mm/record.c >> mm/log.c
	grep -q '^}' mm/log.c
	sed -i '/^static void hugepoison_log(/,/^}/d' mm/record.c
	sed -i 's/^#include "record.c"$/#include "log.c"\n&/' mm/memory-failure.c
	cd "$OLDPWD"
	run -0 scripts/series --check
	run -0 scripts/series --why hugepoison_mark_whole
	[[ $output =~ from\ step\ [0-9]+\ on,\ used\ by\ hugepoison_become ]]
	run -0 scripts/series --why hugepoison_log
}

@test "--check says that all fits, or what does not and what to do" {
	run -0 scripts/series --check
	assert_says "steps fit our files, for the newest"
	assert_says "steps fit our files, for 6.12"
	sed -i 's/ copy_page_range\>//' "$SERIES_STEPS"/*
	run -1 scripts/series --check
	assert_says "the hook copy_page_range is in no step"
	assert_says "remedy: add it to the line hooks: of the step"
}

@test "--check looks at the series for 6.12 as well" {
	printf '#if 6.12\nnames: hugepoison_is_nowhere\n#endif\n' >> "$(with 'names: hugepoison_mark$')"
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
	[[ $output =~ from\ step\ ([0-9]+)\ on,\ used\ by\ hugepoison_pool_exchange\;\ a\ stub\ until\ step\ ([0-9]+),\ which\ names\ it ]]
	[ "${BASH_REMATCH[2]}" = "$(number_of "$(with '^names:.* hugepoison_add_deficit\>')")" ]
	[ "${BASH_REMATCH[1]}" -lt "${BASH_REMATCH[2]}" ]
}

@test "what a step brings is not there before it, and all of it is there in the end" {
	run -0 scripts/series --states --out "$out"
	steps=$out/steps
	n=$(number_of "$(with '^hooks:.* hugetlbfs_fallocate\>')")
	run -1 grep -rq 'hugepoison_heal_hole(.*[a-z]' "$steps/$(printf %02d $((n - 1)))"
	grep -rq 'hugepoison_heal_hole(.*[a-z]' "$steps/$(printf %02d "$n")"
	run -1 grep -q hugepoison "$steps/00/mm/memory-failure.c"
	# a stub, then the function
	n=$(number_of "$(with '^names:.* hugepoison_add_deficit\>')")
	before=$steps/$(printf %02d $((n - 1)))/mm/hugepoison/pool.c
	grep -A1 -x 'VISIBLE_IF_KUNIT void hugepoison_add_deficit(.*)' "$before" > /dev/null
	run -1 grep -q hugepoison_clear_deficit "$before"
	grep -q hugepoison_clear_deficit "$steps/$(printf %02d "$n")/mm/hugepoison/pool.c"
	last=$(printf '%s\n' "$steps"/?? | tail -n 1)
	for file in mm/hugepoison/Kconfig include/linux/hugepoison.h mm/memory.c; do
		cmp "$last/$file" "build/7.3/linux-hugepoison/$file"
	done
}

@test "in the patches our files are objects, and no .c file includes another" {
	run -0 scripts/series --states --out "$out"
	last=$(printf '%s\n' "$out"/steps/?? | tail -n 1)
	run -1 grep -rE '^#include ".*\.c"' "$out/steps"
	for file in "$last"/mm/hugepoison/*.c; do
		grep -qx "obj-y += $(basename "$file" .c).o" "$last/mm/hugepoison/Makefile"
	done
	for file in memory-failure hugetlb rmap; do
		[ ! -e "$last/mm/hugepoison/$file.c" ]
	done
	grep -qx 'obj-.(CONFIG_HUGEPOISON) += hugepoison/' "$last/mm/Makefile"
	# others use it; only tests do; nobody does
	grep -q '^static void hugepoison_become(' mm/record.c
	grep -q '^void hugepoison_become(' "$last/mm/hugepoison/record.c"
	grep -q '^void hugepoison_become(' "$last/mm/hugepoison/internal.h"
	grep -q '^VISIBLE_IF_KUNIT bool hugepoison_is_step(' "$last/mm/hugepoison/record.c"
	grep -q '^static atomic_t hugepoison_handling = ' "$last/mm/hugepoison/record.c"
}

@test "one patch makes stock's statics global" {
	run -0 scripts/series --states --out "$out"
	n=$(number_of "$(with '^symbols$')")
	[ "$(cat "$out/steps/symbols")" = "$n" ]
	before=$out/steps/$(printf %02d $((n - 1))) after=$out/steps/$(printf %02d "$n")
	grep -qx 'static DEFINE_MUTEX(mf_mutex);' "$before/mm/memory-failure.c"
	grep -qx 'DEFINE_MUTEX(mf_mutex);' "$after/mm/memory-failure.c"
	grep -qx 'extern struct mutex mf_mutex;' "$after/mm/hugepoison/stock.h"
	grep -q '^struct raw_hwp_page {' "$before/mm/memory-failure.c"
	run -1 grep -q '^struct raw_hwp_page {' "$after/mm/memory-failure.c"
	grep -q '^struct raw_hwp_page {' "$after/mm/hugepoison/stock.h"
	sed -i '/^symbols$/d' "$(with '^symbols$')"
	run -1 scripts/series --check
	assert_says "0 steps of series/ have a line symbols"
}

@test "a name that would be global is ours, and of a kind that can be declared" {
	copy_of_our_code
	sed -i 's/\<hugepoison_become\>/become/' "$HUGEPOISON_TOP"/mm/*.c
	run -1 scripts/series --check
	assert_says "become of mm/hugepoison/record.c is used by another file, and would be global"
	sed -i 's/\<become\>(/hugepoison_become(/' "$HUGEPOISON_TOP"/mm/*.c
	run -0 scripts/series --check
	sed -i 's/^static DEFINE_SPINLOCK(hugepoison_records_lock/static DEFINE_ODD(hugepoison_records_lock/' \
		"$HUGEPOISON_TOP"/mm/record.c
	run -1 scripts/series --check
	assert_says "hugepoison_records_lock is defined by DEFINE_ODD, and used by another file"
	assert_says "DEFINED_BY of scripts/series_objects.py"
}

@test "the tool is a project of its own: mounted, and no patch" {
	run -0 scripts/series --states --out "$out"
	last=$(printf '%s\n' "$out"/steps/?? | tail -n 1)
	[ -e build/7.3/linux-hugepoison/tools/mm/hugepoison-inject/Makefile ]
	[ ! -e "$last/tools/mm" ]
	cmp "$last/MAINTAINERS" <(grep -v tools/mm/hugepoison-inject build/7.3/linux-hugepoison/MAINTAINERS)
	grep -q hugepoison-inject series/cover
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
	[[ $output =~ series:\ [0-9]+\ findings\ that\ series/exceptions\ gives\ no\ reason\ for ]]
}

@test "the cover letter ends with the tag that the series applies to, or its commit's id" {
	id=0123456789abcdef0123456789abcdef01234567
	run -0 scripts/series --sizes --out "$out"
	release=$(awk '$1 ~ /^(VERSION|PATCHLEVEL|SUBLEVEL)$/ { printf "%s%s", dot, $3; dot = "." } NR == 4 { exit }' \
		build/7.3/source/Makefile)
	[ "$(tail -n 1 "$out/0000-cover-letter.patch")" = "base: v$release (tag), Debian's linux-source-7.3 $(cat build/7.3/source/.unpacked)" ]
	run -1 grep -rq base-commit "$out"/*.patch
	run -0 scripts/series --sizes --base-commit "$id" --out "$out"
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

@test "a patch that is too long, or too large, needs a reason" {
	run -0 scripts/series --sizes --out "$out"
	# the reason is gone, and all tests are in one patch
	sed -i '/^LONG_PATCH/d' "$SERIES_STEPS/exceptions"
	sed -n '/^---$/,$p' "$SERIES_STEPS"/??-kunit-narrow | sed 1d >> "$(echo "$SERIES_STEPS"/??-kunit)"
	rm "$SERIES_STEPS"/??-kunit-narrow
	run -1 scripts/series --sizes --out "$out"
	[[ $output =~ LONG_PATCH:\ [0-9]+\ lines\ of\ code,\ 400\ are\ the\ limit ]]
	[[ $output =~ KUnit.*LARGE_PATCH:\ [0-9]+\ kB,\ 100\ are\ the\ limit ]]
	assert_says "findings that series/exceptions gives no reason for"
}

@test "a tree without git is refused, with the remedy" {
	copy_of_our_code
	run -1 scripts/series --any-author --out "$out"
	assert_says "no git repository"
	assert_says "run git init, git add -A and git commit there"
	[ ! -e "$out" ]
}
