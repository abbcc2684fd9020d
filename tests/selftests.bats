#!/usr/bin/env bats
# scripts/selftests judges fairly, on results made here.

bats_require_minimum_version 1.5.0

setup()
{
	results=$BATS_TEST_TMPDIR
	mkdir "$results/stock" "$results/ours"
}

# what KERNEL TEST OUTCOME[,MEMBER:VALUE...]...: the runs of a test on a kernel.
what()
{
	local run file=$results/$1/$2.json comma=

	shift 2
	echo '[' > "$file"
	for run; do
		echo "$comma{\"outcome\": \"${run%%,*}\"" >> "$file"
		[[ $run == *,* ]] && sed -E 's/,(\w+):/, "\1": /g' <<< ",${run#*,}" >> "$file"
		echo '}' >> "$file"
		comma=,
	done
	echo ']' >> "$file"
}

# assert_judged STATUS LAST-LINE TEST VERDICT...
assert_judged()
{
	local status_wanted=$1 last=$2

	shift 2
	run "-$status_wanted" "$BATS_TEST_DIRNAME/../scripts/selftests" --judge "$results"
	while [ $# -gt 0 ]; do
		grep -qE "^$1 .*[0-9A-Za-z]  +$2\$" <<< "$output" || { echo "$1 is not $2: $output"; return 1; }
		shift 2
	done
	[ "${lines[-1]}" = "$last" ] || { echo "'${lines[-1]}', not '$last': $output"; return 1; }
}

@test "the same is the same, whatever time it takes" {
	what stock map_hugetlb pass,ok:1,seconds:2
	what ours map_hugetlb pass,ok:1,seconds:3
	assert_judged 0 '1 passed, 0 failed, 0 skipped' map_hugetlb same
}

@test "what fails, hangs or kills the guest on ours only is worse" {
	what stock hugepage-mmap pass
	what ours hugepage-mmap fail
	what stock hugepage-shm fail
	what ours hugepage-shm timeout
	what stock map_hugetlb timeout
	what ours map_hugetlb 'guest died'
	assert_judged 1 '0 passed, 3 failed, 0 skipped' \
		hugepage-mmap worse hugepage-shm worse map_hugetlb worse
}

@test "what passes on ours only is better" {
	what stock hugepage-mmap fail
	what ours hugepage-mmap pass
	what stock hugepage-shm 'guest died'
	what ours hugepage-shm pass
	what stock map_hugetlb skip
	what ours map_hugetlb pass
	assert_judged 0 '3 passed, 0 failed, 0 skipped' \
		hugepage-mmap better hugepage-shm better map_hugetlb better
}

@test "skipped or failed on both is not passed; skipped on ours only is worse" {
	what stock hugepage-mmap skip
	what ours hugepage-mmap skip
	what stock hugepage-shm fail
	what ours hugepage-shm fail
	what stock map_hugetlb fail
	what ours map_hugetlb skip
	assert_judged 1 '0 passed, 1 failed, 2 skipped' \
		hugepage-mmap same hugepage-shm same map_hugetlb worse
}

@test "parts count: fewer that pass are worse, more are better" {
	what stock hugepage-mmap pass,ok:4
	what ours hugepage-mmap pass,ok:3
	what stock hugepage-shm fail,ok:2,not_ok:2
	what ours hugepage-shm fail,ok:3,not_ok:1
	assert_judged 1 '0 passed, 1 failed, 1 skipped' hugepage-mmap worse hugepage-shm better
}

@test "a leftover or a complaint of the kernel is worse, though the test passes" {
	what stock hugepage-mmap pass
	what ours hugepage-mmap 'pass,left:"1 in use"'
	what stock hugepage-shm fail
	what ours hugepage-shm 'pass,complaint:"WARNING: here"'
	what stock map_hugetlb 'pass,left:"8 in use"'
	what ours map_hugetlb pass
	assert_judged 1 '1 passed, 2 failed, 0 skipped' \
		hugepage-mmap worse hugepage-shm worse map_hugetlb better
	[[ $output == *'hugepage-shm, hugepoison: the kernel'\''s log: WARNING: here'* ]]
}

@test "what stock gives now and then, ours may give too; better is better than all of it" {
	what stock hugepage-mmap pass fail pass
	what ours hugepage-mmap fail
	what stock hugepage-shm pass pass fail
	what ours hugepage-shm timeout
	what stock map_hugetlb fail fail pass
	what ours map_hugetlb pass
	what stock thuge-gen fail timeout
	what ours thuge-gen pass
	assert_judged 1 '3 passed, 1 failed, 0 skipped' hugepage-mmap 'same, flaky' \
		hugepage-shm worse map_hugetlb 'same, flaky' thuge-gen better
	[[ $output == *"hugepage-mmap, stock's runs: pass; fail; pass"* ]]
}

@test "no results are no success; no such test is wrong usage" {
	run -1 "$BATS_TEST_DIRNAME/../scripts/selftests" --judge "$results"
	run -2 "$BATS_TEST_DIRNAME/../scripts/selftests" no-such-test
	[[ $output == *"no test 'no-such-test'"* ]]
}

@test "a source without any of the tests is a failure" {
	run -1 "$BATS_TEST_DIRNAME/../scripts/selftests" --no-build --kernel 9.9/hugepoison map_hugetlb
	[[ $output == *"build/9.9/source has none of the tests"* ]]
}

@test "the table names the tests that a source lacks" {
	run -0 python3 - "$BATS_TEST_DIRNAME/../scripts" "$results" <<- 'END'
	import os, sys
	sys.path.insert(0, sys.argv[1])
	from loading import load
	selftests = load("selftests")
	mm = os.path.join(sys.argv[2], selftests.TESTS_AT, "mm")
	os.makedirs(mm)
	for name in "map_hugetlb.c", "hugetlb_reparenting_test.sh":
	    open(os.path.join(mm, name), "w").close()
	tests = [one for one in selftests.TESTS if "map_" in one["name"] or "repar" in one["name"]]
	print(selftests.lacking(sys.argv[2], tests))
	tests += [one for one in selftests.TESTS if one["name"] == "thuge-gen"]
	print(selftests.lacking(sys.argv[2], tests))
	END
	[ "${lines[0]}" = '[]' ]
	[ "${lines[1]}" = "[\"not among this kernel's selftests: thuge-gen\"]" ]
}
