#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031 # other shells expand what is in quotes; variables of each test
# SPDX-License-Identifier: GPL-2.0
# The packages of scripts/deb: the kernel of the lean one boots, both come and go
# in a small Debian without a trace. Run as root, after `make tests deb-lean`.
# Mounts are in a namespace of each command's own, and end with it.

bats_require_minimum_version 1.5.0

setup_file()
{
	cd "$BATS_TEST_DIRNAME/.." || return
	export TOP=$PWD
	[ "$(id -u)" = 0 ] || skip "not root"
	KERNEL=$(newest linux-image- -hugepoison-lean)
	TOOLS=$(newest hugepoison-tools)
	LIBRARY=$(newest libhugepoison0)
	DEVELOPMENT=$(newest libhugepoison-dev)
	# here, and cleared now: what an interrupted run left goes with the next one
	export KERNEL TOOLS LIBRARY DEVELOPMENT WORK=$PWD/build/deb/test DEBS=$PWD/build/deb/test/debs
	rm -rf "$WORK"
	mkdir -p "$DEBS"
	cp "$KERNEL" "$DEBS/kernel.deb"
	cp "$TOOLS" "$DEBS/tools.deb"
	cp "$LIBRARY" "$DEBS/library.deb"
	cp "$DEVELOPMENT" "$DEBS/development.deb"
	DEBIAN=$(scripts/small-debian)
	export DEBIAN
}

teardown_file()
{
	rm -rf "$WORK"
}

# newest BEGIN [END]: the last built file of the package with such a name
newest()
{
	local files

	files=$(ls -t build/deb/"$1"*"$2"_*.deb) || { echo "no package $1: make deb-lean"; return 1; }
	echo "$PWD/${files%%$'\n'*}"
}

setup()
{
	cd "$TOP" || return
	root=$WORK/root
	top=$WORK/top
	export LC_ALL=C DEBIAN_FRONTEND=noninteractive
}

teardown()
{
	rm -rf "$root" "$top"
}

assert_says()
{
	[[ $output == *"$1"* ]] || { echo "no '$1' in: $output"; return 1; }
}

# fresh_root [TAR]: a Debian of this test's own, whose hooks for kernels say that they were
# called
fresh_root()
{
	local when

	mkdir "$root"
	tar -C "$root" -xf "${1:-$DEBIAN}"
	for when in preinst postinst prerm postrm; do
		mkdir -p "$root/etc/kernel/$when.d"
		printf '#!/bin/sh\necho %s "$@" >> /var/log/hooks\n' $when > "$root/etc/kernel/$when.d/test"
		chmod 755 "$root/etc/kernel/$when.d/test"
	done
	files > "$BATS_TEST_TMPDIR/before"
}

# in_root COMMAND...: with the packages in /mnt
in_root()
{
	unshare --mount --pid --fork --kill-child sh -c 'root=$1 debs=$2; shift 2
		mount -t proc proc "$root/proc" && mount --bind "$debs" "$root/mnt" &&
		exec chroot "$root" "$@"' sh "$root" "$DEBS" "$@"
}

# All files of the root with their attributes, except the records of dpkg and apt, and what
# systemd, debconf and ldconfig make anew: indexes, files of a call.
files()
{
	(cd "$root" && find . \( -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache/apt \
		-o -path ./var/log -o -path ./var/cache/ldconfig -o -path ./var/lib/systemd/catalog/database \
		-o -path ./run/systemd -o -path ./var/cache/debconf -o -path ./etc/ld.so.cache \) -prune -o \
		! -type d -printf '%p %y %m %U %G %s %l %T@\n' -o -printf '%p %y %m %U %G\n' | sort)
}

nothing_is_left()
{
	diff "$BATS_TEST_TMPDIR/before" <(files)
	# a refused package stays known by name
	run in_root dpkg-query -W -f '${db:Status-Status}' "$1"
	[[ $output == not-installed || $output == *'no packages found'* ]]
	[ -z "$(find "$root/var/lib/dpkg/info" -name "$1.*")" ]
}

installed_version()
{
	in_root dpkg-query -W -f '${Status} ${Version}' "$1"
}

# newer PACKAGE: a package with a higher version, one file more, and one less
newer()
{
	local tree=$WORK/newer version

	version=$(dpkg-deb -f "$1" Version)
	dpkg-deb -R "$1" "$tree"
	sed -i "s/^Version: .*/Version: $version.1/" "$tree/DEBIAN/control"
	mkdir -p "$tree/usr/lib/newer"
	echo newer > "$tree/usr/lib/newer/file"
	rm "$tree"/usr/share/doc/*/copyright "$tree/DEBIAN/md5sums"
	dpkg-deb --root-owner-group -Znone -b "$tree" "$DEBS/newer.deb"
	rm -rf "$tree"
}

# cycle PACKAGE FILE: install, upgrade, go back, remove, purge
cycle()
{
	local name version

	name=$(dpkg-deb -f "$2" Package)
	version=$(dpkg-deb -f "$2" Version)
	newer "$2"
	run -0 in_root apt-get install -y "/mnt/newer.deb"
	assert_says '1 newly installed'
	run -0 in_root apt-get install -y --allow-downgrades "/mnt/$1.deb"
	assert_says '1 downgraded'
	run -0 installed_version "$name"
	[ "$output" = "install ok installed $version" ]
	[ ! -e "$root/usr/lib/newer" ]
	run -0 in_root apt-get install -y /mnt/newer.deb
	assert_says '1 upgraded'
	run -0 installed_version "$name"
	[ "$output" = "install ok installed $version.1" ]
	[ -e "$root/usr/lib/newer/file" ]
	[ ! -e "$root/usr/share/doc/$name/copyright" ]
	run -0 in_root apt-get remove -y "$name"
	assert_says '1 to remove'
	run -0 in_root dpkg --purge "$name"
	nothing_is_left "$name"
}

@test "the packaged kernel boots, is the one that the package says, and passes the smoke test" {
	release=$(dpkg-deb -f "$KERNEL" Package)
	release=${release#linux-image-}
	dpkg-deb --fsys-tarfile "$KERNEL" | tar -C "$BATS_TEST_TMPDIR" -x "./boot/vmlinuz-$release"
	run -0 scripts/vm --kernel "$BATS_TEST_TMPDIR/boot/vmlinuz-$release" --memory 5G -- \
		sh -c 'uname -r; tests/hugetlb-poison/run --quick --hvo off policy contain narrow'
	[ "${lines[0]}" = "$release" ]
	[[ $output =~ ([0-9]+)\ passed,\ 0\ failed,\ 0\ skipped ]]
	[ "${BASH_REMATCH[1]}" -ge 3 ]
}

@test "the kernel's package comes, is upgraded and goes without a trace" {
	fresh_root
	cycle kernel "$KERNEL"
}

@test "the boot loader and initramfs get to know: a hook's call for each step" {
	release=$(dpkg-deb -f "$KERNEL" Package)
	release=${release#linux-image-}
	fresh_root
	in_root apt-get install -y /mnt/kernel.deb
	[ -s "$root/boot/vmlinuz-$release" ]
	[ -d "$root/lib/modules/$release" ]
	in_root apt-get purge -y "linux-image-$release"
	run -0 cat "$root/var/log/hooks"
	[ "${lines[0]}" = "preinst $release /boot/vmlinuz-$release" ]
	[ "${lines[1]}" = "postinst $release /boot/vmlinuz-$release" ]
	[ "${lines[2]}" = "prerm $release /boot/vmlinuz-$release" ]
	[ "${lines[3]}" = "postrm $release /boot/vmlinuz-$release" ]
}

@test "the tools' package comes, is upgraded and goes without a trace" {
	fresh_root
	cycle tools "$TOOLS"
}

@test "the library's package comes, is upgraded and goes without a trace" {
	fresh_root
	cycle library "$LIBRARY"
}

# ask_library [-static]: build a program for the root that asks the library, by what
# pkg-config says of the packages
ask_library()
{
	local sys=$BATS_TEST_TMPDIR/sys

	dpkg-deb -x "$LIBRARY" "$sys"
	dpkg-deb -x "$DEVELOPMENT" "$sys"
	cat > "$BATS_TEST_TMPDIR/ask.c" <<-EOF
		#include <hugepoison.h>
		#include <stdio.h>

		int main(void)
		{
			struct hugepoison_stats stats;

			hugepoison_get_stats(&stats);
			printf("%ld losses, %lu filled\\n", hugepoison_list(NULL, 0), stats.filled);
			return 0;
		}
	EOF
	# shellcheck disable=SC2046 # several words
	cc "$@" -o "$root/ask" "$BATS_TEST_TMPDIR/ask.c" $(PKG_CONFIG_SYSROOT_DIR=$sys \
		PKG_CONFIG_LIBDIR=$sys/usr/lib/x86_64-linux-gnu/pkgconfig \
		pkg-config "${@/#/-}" --cflags --libs hugepoison)
}

# asked: the kernel of this host may be without the option (ENOSYS)
asked()
{
	run -0 in_root /ask
	[[ $output == "-38 losses, 0 filled" || $output == "0 losses, 0 filled" ]]
}

@test "a program finds the library by pkg-config, and runs with its package alone, or without" {
	fresh_root
	run -100 in_root apt-get install -y /mnt/development.deb
	assert_says libhugepoison0
	run -0 in_root apt-get install -y /mnt/library.deb /mnt/development.deb
	run -0 in_root dpkg -L libhugepoison-dev
	assert_says /usr/share/man/man3/hugepoison_register.3.gz
	assert_says /usr/share/man/man7/libhugepoison.7.gz
	run -0 in_root dpkg --purge libhugepoison-dev
	ask_library
	asked
	run -0 in_root dpkg --purge libhugepoison0
	run -127 in_root /ask
	ask_library -static
	asked
	rm "$root/ask"
	nothing_is_left libhugepoison0
}

@test "the tool runs where it is installed, by both names, with pages, completion, triggers, examples" {
	fresh_root
	run -0 in_root apt-get install -y /mnt/tools.deb
	run -0 in_root hugepoison-inject --version
	version=$(dpkg-deb -f "$TOOLS" Version)
	[ "${output##* }" = "${version%-*}" ]
	run -0 in_root dpkg -L hugepoison-tools
	assert_says /usr/share/man/man8/hugepoison-inject.8.gz
	assert_says /usr/share/bash-completion/completions/hugepoison-inject
	assert_says /usr/share/bash-completion/completions/hugepoisonctl
	assert_says /usr/share/man/man8/hugepoisonctl.8.gz
	assert_says /usr/share/man/man7/hugepoison.7.gz
	assert_says /etc/hugepoison/triggers.d/50-metrics
	assert_says /usr/share/doc/hugepoison-tools/examples/hugepoison-alerts.yml
	assert_says /usr/share/doc/hugepoison-tools/examples/node-problem-detector.json
	assert_says /usr/share/doc/hugepoison-tools/examples/rasdaemon-trigger
	run -0 in_root hugepoisonctl --version
	[ "$output" = "hugepoisonctl ${version%-*}" ]
}

@test "units are installed, and off until somebody enables them; what is remembered goes with a purge" {
	fresh_root
	run -0 in_root apt-get install -y /mnt/tools.deb
	for unit in hugepoison-monitor.service hugepoison-remember.service hugepoison-metrics.timer; do
		[ -s "$root/lib/systemd/system/$unit" ]
		run -0 find "$root/etc/systemd" "$root/usr/lib/systemd" -name "$unit" -type l
		[ -z "$output" ]
	done
	mkdir "$root/var/lib/hugepoison"
	echo '{}' > "$root/var/lib/hugepoison/pages"
	echo '# mine' >> "$root/etc/hugepoison/triggers.d/50-metrics"
	run -0 in_root apt-get remove -y hugepoison-tools
	[ -e "$root/var/lib/hugepoison/pages" ]
	grep -qx '# mine' "$root/etc/hugepoison/triggers.d/50-metrics"
	run -0 in_root dpkg --purge hugepoison-tools
	nothing_is_left hugepoison-tools
}

# units_enabled: how many of the units some target wants
units_enabled() { find "$root/etc/systemd/system" -name 'hugepoison-*' | wc -l; }

# on_debian SUITE: with systemd in it, the tools come, are enabled, upgraded, removed, purged
on_debian()
{
	run -0 scripts/small-debian "$1"
	fresh_root "$output"
	run -0 cat "$root/etc/os-release"
	assert_says "VERSION_CODENAME=$1"
	newer "$TOOLS"
	run -0 in_root apt-get install -y /mnt/tools.deb
	[ "$(units_enabled)" = 0 ]
	run -0 in_root sh -c 'systemd-analyze verify --man=no /lib/systemd/system/hugepoison-*'
	[ -z "$output" ]
	run -0 in_root hugepoisonctl --version
	run -0 in_root systemctl enable hugepoison-monitor hugepoison-remember hugepoison-metrics.timer
	[ "$(units_enabled)" = 3 ]
	run -0 in_root apt-get install -y /mnt/newer.deb
	assert_says '1 upgraded'
	[ "$(units_enabled)" = 3 ]
	run -0 in_root apt-get remove -y hugepoison-tools
	run -0 in_root dpkg --purge hugepoison-tools
	[ "$(units_enabled)" = 0 ]
	nothing_is_left hugepoison-tools
}

@test "Debian 12: the units please its systemd, stay enabled over an upgrade, and go with a purge" {
	on_debian bookworm
}

@test "Debian 13: the units please its systemd, stay enabled over an upgrade, and go with a purge" {
	on_debian trixie
}

@test "lintian has nothing to say, hints included" {
	run -0 lintian --allow-root --display-info --pedantic --fail-on error,warning,info,pedantic \
		--suppress-tags package-supports-alternative-init-but-no-init.d-script \
		"$TOOLS" "$LIBRARY" "$DEVELOPMENT"
	echo "$output"
	[ -z "$output" ]
}

@test "a damaged package is refused and leaves nothing" {
	fresh_root
	for package in kernel tools library; do
		size=$(stat -c %s "$DEBS/$package.deb")
		cp "$DEBS/$package.deb" "$DEBS/damaged.deb"
		printf 'damage' | dd of="$DEBS/damaged.deb" bs=1 seek=$((size / 2)) conv=notrunc status=none
		run -100 in_root apt-get install -y /mnt/damaged.deb
		run -1 in_root dpkg -i /mnt/damaged.deb
		head -c $((size / 2)) "$DEBS/$package.deb" > "$DEBS/damaged.deb"
		run -100 in_root apt-get install -y /mnt/damaged.deb
		in_root dpkg --audit
		name=$(dpkg-deb -f "$DEBS/$package.deb" Package)
		nothing_is_left "$name"
	done
}

@test "a boot loader that cannot take the kernel fails the install, which can be finished later" {
	fresh_root
	name=$(dpkg-deb -f "$KERNEL" Package)
	printf '#!/bin/sh\necho /boot is full >&2\nexit 1\n' > "$root/etc/kernel/postinst.d/zz-full"
	chmod 755 "$root/etc/kernel/postinst.d/zz-full"
	run -100 in_root apt-get install -y /mnt/kernel.deb
	assert_says '/boot is full'
	run -0 installed_version "$name"
	[[ $output == "install ok half-configured "* ]]
	rm "$root/etc/kernel/postinst.d/zz-full"
	run -0 in_root dpkg --configure -a
	run -0 in_root apt-get purge -y "$name"
	nothing_is_left "$name"
}

@test "nothing of Debian's own is replaced" {
	for package in "$KERNEL" "$TOOLS" "$LIBRARY" "$DEVELOPMENT"; do
		run -0 dpkg-deb -f "$package" Replaces Conflicts Breaks Provides
		[ -z "$output" ]
	done
	run -0 find build/deb build/linux-hugepoison -maxdepth 1 -name 'linux-libc-dev*'
	[ -z "$output" ]
	run -0 dpkg-deb -c "$KERNEL"
	[[ $output != *" ./usr/include"* ]]
}

@test "versions sort as they should" {
	version=$(dpkg-deb -f "$KERNEL" Version)
	[[ $version =~ ^(6\.12\.[0-9]+\+hugepoison)([^-]+)-([0-9]+)$ ]]
	[ "${BASH_REMATCH[2]}" = "$(dpkg-deb -f "$TOOLS" Version | sed 's/-[^-]*$//')" ]
	dpkg --compare-versions "$version" lt "${version%-*}-$((BASH_REMATCH[3] + 1))"
	dpkg --compare-versions "$version" lt "${BASH_REMATCH[1]}${BASH_REMATCH[2]}.1-1"
	dpkg --compare-versions "$version" lt "6.12.999+hugepoison0-1"
}

# --- scripts/deb

# A copy of what scripts/deb needs, with a build/ of its own.
copy_top()
{
	mkdir -p "$top/build"
	cp -r scripts configs hooks compat mm include tools lib debian "$top"
}

# ... and with this one's source
copy_source()
{
	local tree

	for tree in "$(realpath build/source)" build/linux-hugepoison; do
		rsync -a --exclude='/obj-*' --link-dest="$(realpath "$tree")/" "$tree/" "$top/build/${tree##*/}/"
	done
	ln -s "$(basename "$(realpath build/source)")" "$top/build/source"
}

@test "wrong usage" {
	for words in '' 'kernel --fat' 'kernel --lean more' 'tools --lean' '--lean' nothing; do
		# shellcheck disable=SC2086
		run -2 scripts/deb $words
		assert_says scripts/deb
	done
	REVISION=1a run -2 scripts/deb tools
	assert_says 'REVISION=1a is no number'
	JOBS=0 run -2 scripts/deb kernel
	assert_says 'JOBS=0 is no number'
}

@test "a full disk, too little memory, no configuration: said before anything is done" {
	copy_top
	run -1 unshare --mount sh -c 'mount -t tmpfs -o size=10M tmpfs "$1/build" &&
		"$1/scripts/deb" kernel --lean' sh "$top"
	assert_says 'disk full: the kernel package needs'
	echo 'MemAvailable: 200000 kB' > "$BATS_TEST_TMPDIR/meminfo"
	MEMINFO=$BATS_TEST_TMPDIR/meminfo run -1 "$top/scripts/deb" kernel
	assert_says 'out of memory: the kernel package needs 3000 MB, 195 MB are available'
	DEBIAN_CONFIG=/nowhere.xz run -1 "$top/scripts/deb" kernel
	assert_says 'no /nowhere.xz: the package linux-config-6.12 is not installed'
	[ -z "$(find "$top/build" -type f)" ]
}

# deb_starts NUMBER: in the background, until so many objects are compiled, which takes
# some minutes on a busy machine
deb_starts()
{
	rm -f "$top/build/deb/lean.log"
	"$top/scripts/deb" kernel --lean > "$BATS_TEST_TMPDIR/said" 2>&1 3>&- & deb=$!
	for _ in {1..9000}; do
		sleep 0.2
		[ "$(grep -cE '^  CC ' "$top/build/deb/lean.log" 2> /dev/null)" -ge "$1" ] && return
		kill -0 $deb || break
	done
	cat "$BATS_TEST_TMPDIR/said"
	echo "waited in vain for $1 compiled objects"
	return 1
}

at_work() { [ -n "$(find /proc/[0-9]*/fd/1 -lname "$top/build/deb/lean.log" 2> /dev/null)" ]; }

# deb_ends: interrupted, with what was still to compile at its start in $todo,
# what it has compiled in $compiled, and nobody at work any more
deb_ends()
{
	local status=0

	kill -TERM $deb
	wait $deb || status=$?
	cat "$BATS_TEST_TMPDIR/said"
	[ $status = 1 ] || { echo "ended with $status instead of being interrupted"; return 1; }
	# make has ended; its compilers got the signal, and none leaves a partial object
	for _ in {1..600}; do
		at_work || break
		sleep 0.2
	done
	at_work && { echo "waited 120 s in vain for the end of the compilers"; return 1; }
	todo=$(sed -n 's/^lean: \([0-9]*\) objects to compile.*/\1/p' "$BATS_TEST_TMPDIR/said")
	compiled=$(sed -n 's/.*interrupted after \([0-9]*\) objects.*/\1/p' "$BATS_TEST_TMPDIR/said")
}

@test "an option that does not take is named; interrupted, it goes on where it was" {
	copy_top
	copy_source
	sed -i '1i CONFIG_NO_SUCH_OPTION=y' "$top/configs/hugepoison.config"
	run -1 "$top/scripts/deb" kernel --lean
	assert_says 'options that did not take:'
	assert_says '  CONFIG_NO_SUCH_OPTION=y'
	sed -i 1d "$top/configs/hugepoison.config"
	deb_starts 150
	deb_ends
	first=$todo
	[ "$compiled" -ge 100 ]
	left=$((todo - compiled))
	deb_starts 1
	deb_ends
	# not counted as compiled: objects of the moment of the interruption
	echo "$first objects at first, $left left then, $todo to compile at the second start"
	[ "$todo" -le $((left + 40)) ]
	[ "$todo" -gt 0 ]
}
