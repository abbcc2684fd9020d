#!/usr/bin/env bats
# Bad surroundings get a clear line from scripts/build and
# scripts/install-packages, before anything is done.

bats_require_minimum_version 1.5.0

setup()
{
	scripts=$BATS_TEST_DIRNAME/../scripts
	top=$BATS_TEST_TMPDIR/top
	export LIST=$BATS_TEST_TMPDIR/packages
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/test "$BATS_TEST_TMPDIR"
	echo 'bash  # is always there' > "$LIST"
}

# A copy of what scripts/build needs, with a build/ of its own.
copy_top()
{
	mkdir "$top"
	cp -r "$scripts" "$BATS_TEST_DIRNAME"/../{configs,hooks,compat,mm,include} "$top"
}

assert_says()
{
	[[ $output == *"$1"* ]] || { echo "no '$1' in: $output"; return 1; }
}

@test "nothing is done when no package is missing" {
	run -0 "$scripts/install-packages"
	[ ! "$output" ]
}

@test "a package that is gone from the archive is named" {
	echo 'no-such-package-anywhere' >> "$LIST"
	run -1 "$scripts/install-packages"
	assert_says 'package gone from the archive: no-such-package-anywhere'
}

@test "no network" {
	echo 'no-such-package-anywhere' >> "$LIST"
	http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 \
		run -1 "$scripts/install-packages"
	assert_says 'no network'
}

@test "without the rights to install, the command is printed" {
	[ "$(id -u)" = 0 ] || skip "not root"
	echo 'no-such-package-anywhere' >> "$LIST"
	cp "$scripts"/{install-packages,building.bash} "$BATS_TEST_TMPDIR/"
	run -1 setpriv --reuid 65534 --clear-groups "$BATS_TEST_TMPDIR/install-packages"
	assert_says 'as root run: apt-get install --no-install-recommends no-such-package-anywhere'
}

@test "a list that cannot be read" {
	LIST=/nowhere run -1 "$scripts/install-packages"
	assert_says 'cannot read /nowhere'
}

@test "no source, and a damaged one" {
	copy_top
	ARCHIVE=/nowhere.tar.xz run -1 "$top/scripts/build" stock
	assert_says 'no /nowhere.tar.xz'
	echo damage > "$BATS_TEST_TMPDIR/damaged.tar.xz"
	ARCHIVE=$BATS_TEST_TMPDIR/damaged.tar.xz run -1 "$top/scripts/build" stock
	assert_says 'cannot unpack'
}

@test "a full disk" {
	[ "$(id -u)" = 0 ] || skip "not root"
	copy_top
	mkdir "$top/build"
	mount -t tmpfs -o size=10M tmpfs "$top/build"
	run -1 "$top/scripts/build" stock
	umount "$top/build"
	assert_says 'disk full: the kernel source needs 2500 MB'
}

@test "a path that kbuild cannot deal with is refused, with the remedy" {
	local place="$BATS_TEST_TMPDIR/a b"

	copy_top
	mv "$top" "$place"
	for words in 'build stock' 'deb tools'; do
		# shellcheck disable=SC2086 # words
		run -1 "$place/scripts/"$words
		assert_says "the path '$place' has a space or a colon in it"
		assert_says 'move it'
	done
	[ ! -e "$place/build" ]
	cp "$BATS_TEST_DIRNAME/../Makefile" "$place"
	run -2 make -C "$place" kernel
	assert_says "the path '$place' has a space or a colon in it"
}

@test "a tree of the user's that is none" {
	mkdir "$BATS_TEST_TMPDIR/tree"
	copy_top
	LINUX=$BATS_TEST_TMPDIR/tree run -1 "$top/scripts/build" hugepoison
	assert_says 'no kernel source tree'
	LINUX=/nowhere run -1 "$top/scripts/build" hugepoison
	assert_says 'no such directory'
	LINUX=$BATS_TEST_TMPDIR/tree run -1 "$top/scripts/build" stock
	assert_says 'yours'
	run -2 "$top/scripts/build" no-such-kernel
}
