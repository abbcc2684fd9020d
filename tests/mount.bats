#!/usr/bin/env bats
# scripts/mount on small trees made here, with hooks made here.

bats_require_minimum_version 1.5.0

setup()
{
	mount=$BATS_TEST_DIRNAME/../scripts/mount
	export HUGEPOISON_TOP=$BATS_TEST_TMPDIR/ours
	tree=$BATS_TEST_TMPDIR/tree
	pristine=$BATS_TEST_TMPDIR/pristine
	make_ours
	make_tree "$pristine"
	cp -al "$pristine" "$tree"
}

make_ours()
{
	mkdir -p "$HUGEPOISON_TOP"/{hooks,mm/tests,include/linux,Documentation/{mm,ABI/testing}}
	cd "$HUGEPOISON_TOP" || return
	echo 'int ours;' > mm/rmap.c
	echo 'int test_of_ours;' > mm/tests/rmap.c
	echo 'int hook(void);' > include/linux/hugetlb.h
	echo 'Ours.' > Documentation/mm/ours.rst
	echo 'What: /sys/ours' > Documentation/ABI/testing/sysfs-ours
	cat > hooks/first.cocci <<-'END'
		// Reason.
		// file: mm/rmap.c
		// hunks: 1
		@@
		@@
		  stock_add(...)
		  {
		  ...
		+ hook();
		  check();
		  ...
		  }
	END
	cat > hooks/second.cocci <<-'END'
		// Reason.
		// file: mm/rmap.c
		// hunks: 1
		@@
		@@
		  stock_remove(...)
		  {
		  <...
		- check()
		+ hook()
		  ...>
		  }
	END
	printf '# Reason\nmm/rmap.c\tafter\t#include <stock.h>\t#include <linux/hugepoison.h>\n' > hooks/insertions
	printf 'mm/rmap.c\tend\t-\t#include "hugepoison/rmap.c"\n' >> hooks/insertions
}

make_tree()
{
	mkdir -p "$1"/{mm,include/linux,scripts/kconfig}
	cd "$1" || return
	touch Makefile Kconfig MAINTAINERS mm/Kconfig mm/memory-failure.c mm/hugetlb.c \
		include/linux/hugetlb.h
	cat > mm/rmap.c <<-'END'
		#include <stock.h>

		int stock_add(int a)
		{
			int b = a;

			check();
			return b;
		}

		int padding_of_more_lines;
		int than_a_hunk_has_around_it;
		int so_that_the_two;
		int hooks_make_two_hunks;

		int stock_remove(int a)
		{
			return check();
		}
	END
	chmod 640 mm/rmap.c
}

# Fails unless the tree is byte for byte what it was, modes included.
assert_untouched()
{
	diff -r "$pristine" "$tree"
	[ "$(stat -c %a "$tree/mm/rmap.c")" = 640 ]
}

assert_says()
{
	[[ $output == *"$1"* ]] || { echo "no '$1' in: $output"; return 1; }
}

@test "mount puts our files and all hooks into the tree" {
	run -0 "$mount" "$tree"
	cmp "$HUGEPOISON_TOP/mm/rmap.c" "$tree/mm/hugepoison/rmap.c"
	cmp "$HUGEPOISON_TOP/mm/tests/rmap.c" "$tree/mm/hugepoison/tests/rmap.c"
	cmp "$HUGEPOISON_TOP/include/linux/hugetlb.h" "$tree/include/linux/hugepoison.h"
	run -1 diff "$pristine/mm/rmap.c" "$tree/mm/rmap.c"
	assert_says '> #include <linux/hugepoison.h>'
	assert_says '> hook();'
	assert_says '< return check();'
	assert_says '> return hook();'
	assert_says '> #include "hugepoison/rmap.c"'
}

@test "mount puts our documents at their own paths, and nothing else beside them" {
	touch "$HUGEPOISON_TOP"/Documentation/{mm/ours.rst~,ABI/testing/.sysfs-ours.swp,ABI/testing/sysfs-ours~}
	run -0 "$mount" "$tree"
	cmp "$HUGEPOISON_TOP/Documentation/mm/ours.rst" "$tree/Documentation/mm/ours.rst"
	cmp "$HUGEPOISON_TOP/Documentation/ABI/testing/sysfs-ours" "$tree/Documentation/ABI/testing/sysfs-ours"
	[ "$(find "$tree/Documentation" -type f | wc -l)" = 2 ]
}

@test "mount puts our tests and tools where the kernel has such" {
	mkdir -p "$HUGEPOISON_TOP"/{tests/hugetlb-poison,tools}
	printf '#!/bin/sh\n' > "$HUGEPOISON_TOP/tests/hugetlb-poison/run"
	echo 'int main;' > "$HUGEPOISON_TOP/tools/ours.c"
	touch "$HUGEPOISON_TOP/tests/ours.bats" "$HUGEPOISON_TOP/tools/ours.o"
	run -0 "$mount" "$tree"
	cmp "$HUGEPOISON_TOP/tools/ours.c" "$tree/tools/mm/hugepoison-inject/ours.c"
	[ -x "$tree/tools/testing/selftests/mm/hugetlb-poison/run" ]
	[ "$(find "$tree/tools" -type f | wc -l)" = 2 ]
}

@test "a document of the kernel's under our name is not replaced" {
	mkdir -p "$tree/Documentation/mm"
	echo theirs > "$tree/Documentation/mm/ours.rst"
	run -1 "$mount" "$tree"
	assert_says "Documentation/mm/ours.rst is there already"
	[ "$(cat "$tree/Documentation/mm/ours.rst")" = theirs ]
}

@test "the other links of a hard linked tree stay as they are" {
	sum=$(cat "$pristine"/mm/*.c | sha256sum)
	run -0 "$mount" "$tree"
	[ "$sum" = "$(cat "$pristine"/mm/*.c | sha256sum)" ]
}

@test "unmount restores the tree byte for byte" {
	run -0 "$mount" "$tree"
	run -0 "$mount" --unmount "$tree"
	assert_untouched
}

@test "unmount of what is not mounted is refused" {
	run -1 "$mount" --unmount "$tree"
	assert_says "nothing is mounted"
}

@test "a second mount is refused" {
	run -0 "$mount" "$tree"
	run -1 "$mount" "$tree"
	assert_says "mounted already"
}

@test "a rule that matches nothing is named, and nothing is written" {
	sed -i 's/stock_remove/gone_remove/' "$HUGEPOISON_TOP/hooks/second.cocci"
	run -1 "$mount" "$tree"
	assert_says "hook second.cocci does not fit mm/rmap.c: 0 hunks, 1 expected"
	assert_untouched
}

@test "a rule that matches too often is named" {
	cat >> "$tree/mm/rmap.c" <<-'END'

		int more;
		int padding;

		int stock_remove(int a)
		{
			return check();
		}
	END
	run -1 "$mount" "$tree"
	assert_says "hook second.cocci does not fit"
}

@test "an anchor that is not there, or twice, is named" {
	sed -i 's/<stock.h>/<changed.h>/' "$tree/mm/rmap.c"
	run -1 "$mount" "$tree"
	assert_says "hook insertions:2: mm/rmap.c has 0 lines '#include <stock.h>'"
	printf '#include <stock.h>\n#include <stock.h>\n' >> "$tree/mm/rmap.c"
	run -1 "$mount" "$tree"
	assert_says "has 2 lines"
}

@test "a rule without its header lines is named" {
	sed -i '/hunks/d' "$HUGEPOISON_TOP/hooks/first.cocci"
	run -1 "$mount" "$tree"
	assert_says "hook first.cocci: its comment lacks"
}

@test "a rule that spatch cannot read is named" {
	echo '@@ @@ }{' >> "$HUGEPOISON_TOP/hooks/first.cocci"
	run -1 "$mount" "$tree"
	assert_says "hook first.cocci: spatch failed"
	assert_untouched
}

@test "a hook that adds a whole function is refused" {
	sed -i '/^+/a + one();\n+ two();\n+ three();\n+ four();\n+ five();\n+ six();' \
		"$HUGEPOISON_TOP/hooks/first.cocci"
	run -1 "$mount" "$tree"
	assert_says "hook first.cocci adds 7 lines"
}

@test "a directory that is no kernel tree is refused by what it lacks" {
	rm -r "$tree/mm/hugetlb.c" "$tree/Kconfig"
	run -1 "$mount" "$tree"
	assert_says "no kernel source tree: it has no Kconfig, mm/hugetlb.c"
	run -1 "$mount" "$BATS_TEST_TMPDIR/nowhere"
	assert_says "no such directory"
}

@test "a file of the kernel's under our name is not replaced" {
	mkdir "$tree/mm/hugepoison"
	echo theirs > "$tree/mm/hugepoison/rmap.c"
	run -1 "$mount" "$tree"
	assert_says "mm/hugepoison/rmap.c is there already"
	[ "$(cat "$tree/mm/hugepoison/rmap.c")" = theirs ]
}

@test "what fits is mounted when told so, and what does not is named" {
	sed -i 's/stock_remove(/stock_renamed(/' "$tree/mm/rmap.c"
	run -1 "$mount" "$tree"
	run -0 "$mount" --fitting "$tree"
	[[ $output == 'left out: hook second.cocci does not fit mm/rmap.c: 0 hunks, 1 expected' ]]
	grep -q 'hook();' "$tree/mm/rmap.c"
	# it is not taken for a whole mount afterwards
	run -1 "$mount" --refresh "$tree"
	run -0 "$mount" --unmount "$tree"
	run ! grep -q 'hook();' "$tree/mm/rmap.c"
}

# compat NAME: what a tree needs whose second file is as it was in an older Linux
compat()
{
	mkdir -p "$HUGEPOISON_TOP/compat/$1/hooks"
	echo "/* names of $1 */" > "$HUGEPOISON_TOP/compat/$1/compat.h"
	cp "$HUGEPOISON_TOP/hooks/second.cocci" "$HUGEPOISON_TOP/compat/$1/hooks"
	printf 'mm/hugepoison/rmap.c\tend\t-\t#include "compat.h"\n' > "$HUGEPOISON_TOP/compat/$1/insertions"
	printf 'mm/rmap.c\tnot\t-\t#include <linux/hugepoison.h>\n' >> "$HUGEPOISON_TOP/compat/$1/insertions"
}

@test "a tree that the newest form does not fit gets what it needs of compat/" {
	compat 6.12
	run -0 "$mount" "$tree"
	run -0 "$mount" --compat "$tree"
	[ "$output" = newest ]
	[ ! -e "$tree/mm/hugepoison/compat.h" ]
	# the newest form of a hook changes
	sed -i 's/stock_remove/newer_remove/' "$HUGEPOISON_TOP/hooks/second.cocci"
	run -0 "$mount" --refresh "$tree"
	run -0 "$mount" --compat "$tree"
	[ "$output" = 6.12 ]
	[ "$(tail -n 1 "$tree/mm/hugepoison/rmap.c")" = '#include "compat.h"' ]
	[ "$(cat "$tree/mm/hugepoison/compat.h")" = '/* names of 6.12 */' ]
	run -1 grep -r 'linux/hugepoison.h' "$tree/mm/rmap.c"
	run -0 "$mount" --unmount "$tree"
	run -1 "$mount" --compat "$tree"
	assert_says 'nothing is mounted here'
}

@test "a hook that an older Linux does not need has no hunks there" {
	compat 6.12
	sed -i 's/stock_remove/newer_remove/' "$HUGEPOISON_TOP"/{hooks,compat/6.12/hooks}/second.cocci
	run -1 "$mount" "$tree"
	printf '// There is none.\n// file: mm/rmap.c\n// hunks: 0\n' > "$HUGEPOISON_TOP/compat/6.12/hooks/second.cocci"
	run -0 "$mount" "$tree"
	run -0 "$mount" --compat "$tree"
	[ "$output" = 6.12 ]
}

@test "unmount and refresh refuse a hooked file that was edited" {
	run -0 "$mount" "$tree"
	echo 'int edit;' >> "$tree/mm/rmap.c"
	run -1 "$mount" --unmount "$tree"
	assert_says "mm/rmap.c was edited"
	run -1 "$mount" --refresh "$tree"
	assert_says "mm/rmap.c was edited"
	grep -q 'int edit;' "$tree/mm/rmap.c"
}

@test "refresh writes only what changed" {
	run -0 "$mount" "$tree"
	touch -d 2001-01-01 "$tree/mm/rmap.c" "$tree/mm/hugepoison/rmap.c" \
		"$tree/include/linux/hugepoison.h"
	echo 'int more_of_ours;' >> "$HUGEPOISON_TOP/mm/rmap.c"
	run -0 "$mount" --refresh "$tree"
	cmp "$HUGEPOISON_TOP/mm/rmap.c" "$tree/mm/hugepoison/rmap.c"
	[ "$(find "$tree" -newermt 2002-01-01 -name rmap.c -path '*hugepoison/rmap.c')" ]
	[ ! "$(find "$tree/mm/rmap.c" "$tree/include/linux/hugepoison.h" -newermt 2002-01-01)" ]
}

@test "refresh follows a changed, a new and a removed hook, and a removed file" {
	run -0 "$mount" "$tree"
	sed -i 's/hook();/other_hook();/' "$HUGEPOISON_TOP/hooks/first.cocci"
	rm "$HUGEPOISON_TOP/hooks/second.cocci" "$HUGEPOISON_TOP/mm/tests/rmap.c"
	printf 'mm/Kconfig\tend\t-\tsource "mm/hugepoison/Kconfig"\n' >> "$HUGEPOISON_TOP/hooks/insertions"
	run -0 "$mount" --refresh "$tree"
	grep -q 'other_hook();' "$tree/mm/rmap.c"
	grep -q 'return check();' "$tree/mm/rmap.c"
	grep -q 'hugepoison/Kconfig' "$tree/mm/Kconfig"
	[ ! -e "$tree/mm/hugepoison/tests" ]
	run -0 "$mount" --unmount "$tree"
	assert_untouched
}

@test "a mount that was cut short can be undone" {
	run -0 "$mount" "$tree"
	cp "$pristine/mm/rmap.c" "$tree/mm/rmap.c"
	rm "$tree/mm/hugepoison/rmap.c"
	run -0 "$mount" --unmount "$tree"
	assert_untouched
}

@test "--check and --count write nothing" {
	run -0 "$mount" --check "$tree"
	[ ! "$output" ]
	run -0 "$mount" --count "$tree"
	assert_says "4 hooks in 1 files: 5 lines added, 1 removed"
	assert_untouched
}

@test "no hooks at all is a mount of our files only" {
	rm -r "$HUGEPOISON_TOP/hooks"
	run -0 "$mount" "$tree"
	cmp "$pristine/mm/rmap.c" "$tree/mm/rmap.c"
	[ -e "$tree/mm/hugepoison/rmap.c" ]
}

@test "wrong usage exits with 2" {
	run -2 "$mount"
	run -2 "$mount" --refresh --unmount "$tree"
}
