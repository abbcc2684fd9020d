#!/usr/bin/env bats
# scripts/check counts what really ran, on lists of checks made here.

bats_require_minimum_version 1.5.0

setup()
{
	export CHECKS=$BATS_TEST_TMPDIR/checks EXPECTED_SKIPS=$BATS_TEST_TMPDIR/expected-skips
	export CHECK_LOGS=$BATS_TEST_TMPDIR/logs
	echo 0 > "$EXPECTED_SKIPS"
}

# Runs the checks of stdin; the exit status is to be $1, the last line $2.
assert_result()
{
	cat > "$CHECKS"
	run "-$1" "$BATS_TEST_DIRNAME/../scripts/check"
	[ "${lines[-1]}" = "$2" ] || { echo "'${lines[-1]}', not '$2', at the end of: $output"; return 1; }
}

@test "exit statuses: 0 passes, 77 and 4 skip, others fail" {
	echo 2 > "$EXPECTED_SKIPS"
	assert_result 0 '1 passed, 0 failed, 2 skipped' <<-'END'
		one    true
		two    exit 77
		three  exit 4
	END
	assert_result 1 '1 passed, 2 failed, 0 skipped' <<-'END'
		one    exit 1
		two    kill -9 $$
		three  true
	END
}

@test "more skips than expected are a failure" {
	assert_result 1 '1 passed, 0 failed, 1 skipped' <<-'END'
		one    true
		two    exit 77
	END
	[[ $output == *'1 tests were skipped, 0 are expected'* ]]
}

@test "what failed is shown again at the end" {
	assert_result 1 '2 passed, 1 failed, 0 skipped' <<-'END'
		one    true
		two    echo the reason; exit 1
		three  seq 100; true
	END
	[[ ${lines[-4]} == '--- two failed'* && ${lines[-3]} == '  | the reason' ]]
	[[ ${lines[-2]} =~ ^'3 checks in '[0-9]+' s'$ ]]
}

@test "a check with & runs beside those after it, and counts as any other" {
	assert_result 1 '3 passed, 1 failed, 0 skipped' <<-END
		one    true
		&two   until [ -e $BATS_TEST_TMPDIR/three ]; do sleep 0.1; done
		&four  [ -e $BATS_TEST_TMPDIR/three ] && echo the reason && exit 1
		three  touch $BATS_TEST_TMPDIR/three
	END
	[[ $output == *'--- four failed'*'| the reason'* ]]
}

@test "each TAP test counts" {
	echo 1 > "$EXPECTED_SKIPS"
	assert_result 1 '2 passed, 1 failed, 1 skipped' <<-'END'
		one    printf '1..4\nok 1 a\nok 2 b # SKIP no memory\nnot ok 3 c\nok 4 d\n'; exit 1
	END
	[[ $output == *'not ok 3 c'* ]]
}

@test "not ok is a failure, whatever the exit status" {
	assert_result 1 '1 passed, 1 failed, 0 skipped' <<-'END'
		one    printf '1..2\nok 1 a\nnot ok 2 b\n'
	END
}

@test "a bad exit status is a failure, whatever TAP says" {
	assert_result 1 '1 passed, 1 failed, 0 skipped' <<-'END'
		one    printf '1..1\nok 1 a\n'; exit 1
	END
}

@test "planned tests that did not run are failures" {
	assert_result 1 '1 passed, 2 failed, 0 skipped' <<-'END'
		one    printf '1..3\nok 1 a\n'
	END
}

@test "a plan of no test is a failure" {
	assert_result 1 '0 passed, 1 failed, 0 skipped' <<-'END'
		one    echo 1..0
	END
}

@test "subtests count with the test they are part of" {
	assert_result 0 '2 passed, 0 failed, 0 skipped' <<-'END'
		one    printf 'TAP version 13\n1..1\n    1..2\n    ok 1 a\n    ok 2 b\nok 1 suite\n'
		two    echo 'okay then'
	END
}

@test "a check that leaves a process behind does not stop the others" {
	assert_result 0 '2 passed, 0 failed, 0 skipped' <<-'END'
		one    sleep 1000 & echo started
		two    true
	END
}

@test "checks are chosen by name" {
	printf 'one true\ntwo false\n' > "$CHECKS"
	run -0 "$BATS_TEST_DIRNAME/../scripts/check" one
	[ "${lines[-1]}" = '1 passed, 0 failed, 0 skipped' ]
	run -2 "$BATS_TEST_DIRNAME/../scripts/check" three
	run -0 "$BATS_TEST_DIRNAME/../scripts/check" --list
	[ ${#lines[@]} = 2 ]
}

@test "a list with a name twice is refused" {
	printf 'one true\none false\n' > "$CHECKS"
	run -2 "$BATS_TEST_DIRNAME/../scripts/check"
}

@test "a closing line counts as it says" {
	assert_result 1 '8 passed, 2 failed, 0 skipped' <<-'END'
		one    printf 'ok 1 shown\n3 passed, 1 failed, 0 skipped\n5 passed, 1 failed, 0 skipped\n'; exit 1
		two    printf '3 passed, 0 failed, 0 skipped\n'; exit 1
	END
}

@test "scripts/test: a name that it does not know is answered with those that it knows" {
	run -2 "$BATS_TEST_DIRNAME/../scripts/test" no-such-test
	[[ $output == *'no test named no-such-test; there are:'*' heal '*' check.bats '*kunit* ]]
}

@test "scripts/test: what failed in a guest comes once more at the end, after the console" {
	local tree=$BATS_TEST_TMPDIR/tree

	mkdir -p "$tree/tests"
	cp -r "$BATS_TEST_DIRNAME/../scripts" "$tree"
	cp -r "$BATS_TEST_DIRNAME/hugetlb-poison" "$tree/tests"
	cat > "$tree/scripts/vm" <<-'END'
		#!/bin/sh
		printf 'ok 1 one.ok\nnot ok 2 one.bad\nFAILED heal, HVO off: one.bad\n  # heal.c:1: Expected 0 == 1\n1 passed, 1 failed\n'
		echo "  | the console" >&2
		exit 1
	END
	run -1 "$tree/scripts/test" --no-build heal
	[ "${lines[-3]}" = '--- of tests/hugetlb-poison failed:' ]
	[ "${lines[-2]}" = 'FAILED heal, HVO off: one.bad' ]
	[ "${lines[-1]}" = '  # heal.c:1: Expected 0 == 1' ]
	printf '#!/bin/sh\necho 2 passed, 0 failed\n' > "$tree/scripts/vm"
	run -0 "$tree/scripts/test" --no-build heal
	[ "$output" = '2 passed, 0 failed' ]
}

@test "tests/kunit: a test that failed comes with its reasons, one that passed without" {
	local tree=$BATS_TEST_TMPDIR/tree

	mkdir -p "$tree/tests" "$tree/mm/tests" "$tree/scripts"
	cp "$BATS_TEST_DIRNAME/kunit" "$tree/tests"
	printf '\t.name = "one",\n' > "$tree/mm/tests/one.c"
	cat > "$tree/scripts/vm" <<-'END'
		#!/bin/sh
		printf '    KTAP version 1\n    # Subtest: one\n    1..2\n    # good: a remark\n    ok 1 good\n'
		printf '    # bad: EXPECTATION FAILED at one.c:5\n        x == 1\n    not ok 2 bad\nnot ok 1 one\n'
	END
	chmod +x "$tree/scripts/vm"
	run -1 "$tree/tests/kunit"
	[ ${#lines[@]} = 11 ]
	[ "${lines[0]}" = 'ok 1 good (HVO off)' ]
	[ "${lines[1]}" = '# bad: EXPECTATION FAILED at one.c:5' ]
	[ "${lines[2]}" = '#     x == 1' ]
	[ "${lines[3]}" = 'not ok 2 bad (HVO off)' ]
	[ "${lines[-1]}" = '1..6' ]
}
