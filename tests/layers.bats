#!/usr/bin/env bats
# scripts/layers on copies of our kernel code with one mistake each.

bats_require_minimum_version 1.5.0

setup()
{
	layers=$BATS_TEST_DIRNAME/../scripts/layers
	export LAYERS_TOP=$BATS_TEST_TMPDIR
	cp -r "$BATS_TEST_DIRNAME"/../{mm,include,hooks,compat} "$LAYERS_TOP"
}

# One complaint, and that says all of the arguments.
assert_complains()
{
	run -1 "$layers"
	[ ${#lines[@]} = 2 ] || { echo "not one complaint: $output"; return 1; }
	for words; do
		[[ ${lines[0]} == *"$words"* ]] || { echo "no '$words' in: ${lines[0]}"; return 1; }
	done
}

@test "our code is as it should be" {
	run -0 "$layers"
	[[ $output =~ ^'layers: '[0-9]+' files, 0 complaints'$ ]]
}

@test "a call upward" {
	cat >> "$LAYERS_TOP/mm/record.c" <<-'END'

		static void hugepoison_drop(struct hugepoison_error *err)
		{
			hugepoison_let_go(err);
		}
	END
	assert_complains mm/record.c: 'uses hugepoison_let_go of mm/lock.c, which is above it'
}

@test "a variable of a file above, in an initializer" {
	echo 'static bool *hugepoison_policy = &hugepoison_narrow_policy;' >> "$LAYERS_TOP/mm/raw.c"
	assert_complains mm/raw.c: 'uses hugepoison_narrow_policy of mm/handler.c'
}

@test "what only a comment, a string or a member is called is no use of it" {
	cat >> "$LAYERS_TOP/mm/raw.c" <<-'END'

		/* as hugepoison_let_go() */
		static void hugepoison_drop(struct hugepoison_error *err)
		{
			err->hugepoison_let_go = "hugepoison_let_go";
		}
	END
	run -0 "$layers"
}

@test "a declaration of what is defined further on" {
	sed -i '0,/^static/s//static void hugepoison_let_go(struct hugepoison_error *err);\n\n&/' \
		"$LAYERS_TOP/mm/lock.c"
	assert_complains mm/lock.c: 'declares hugepoison_let_go, which is defined in mm/lock.c'
}

@test "a declaration of a function of the stock file is none of that" {
	echo 'static int __maybe_unused hugetlb_fault_mutex(void);' >> "$LAYERS_TOP/mm/fault.c"
	run -0 "$layers"
}

@test "a file without a place" {
	printf 'int hugepoison_alone(void)\n{\n\treturn 0;\n}\n' > "$LAYERS_TOP/mm/alone.c"
	assert_complains 'mm/alone.c: is not in FILES'
}

@test "a list in another order" {
	sed -i '/"raw.c"/d; s/"record.c"/&\n#include "raw.c"/' "$LAYERS_TOP/mm/memory-failure.c"
	assert_complains 'mm/memory-failure.c: lists files in another order'
}

@test "a public name that no hook calls" {
	sed -i 's/^int hugepoison_memory_failure/void hugepoison_let_go(void);\n&/' \
		"$LAYERS_TOP/include/linux/hugetlb.h"
	assert_complains include/linux/hugetlb.h: 'has hugepoison_let_go, which no hook calls'
}

@test "wrong usage" {
	run -2 "$layers" --all
	[[ $output == usage:* ]]
}
