#!/usr/bin/env bats
# scripts/archive, scripts/build with KERNEL=LINE and scripts/point-releases, on a signed
# archive made here, which a host's apt made here is set up for.

bats_require_minimum_version 1.5.0

setup_file()
{
	export MADE=$BATS_FILE_TMPDIR GNUPGHOME=$BATS_FILE_TMPDIR/gnupg
	mkdir -m 700 "$GNUPGHOME"
	gpg --batch -q --passphrase '' --quick-generate-key archive@example.com ed25519 sign never
	gpg --batch -q --passphrase '' --quick-generate-key other@example.com ed25519 sign never
	gpg --export archive@example.com > "$MADE/keys.gpg"
	gpg --export other@example.com > "$MADE/other.gpg"
	chmod 755 "$MADE" "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/file
	make_package 7.3.9-1 7.3.9
	make_package 7.3.10-1 7.3.10
	make_package 7.2.5-1 7.2.5
	make_package 6.12.1-1 6.12.1
	make_package 6.12.2-1 6.12.2
}

teardown_file()
{
	gpgconf --kill all
}

# make_package VERSION RELEASE: a linux-source-* with a kernel source of two files; from
# 7.3 on one of them has another line
make_package()
{
	local scratch=$MADE/scratch line=${2%.*}

	mkdir -p "$scratch"/{linux/mm,package/{DEBIAN,usr/src}} "$MADE/pool"
	printf 'int both;\n' > "$scratch/linux/mm/memory-failure.c"
	echo "int $([ "$line" = 7.3 ] && echo newer || echo old);" >> "$scratch/linux/mm/memory-failure.c"
	# shellcheck disable=SC2086 # three words
	printf 'VERSION = %s\nPATCHLEVEL = %s\nSUBLEVEL = %s\n' ${2//./ } > "$scratch/linux/Makefile"
	tar -C "$scratch" -cJf "$scratch/package/usr/src/linux-source-$line.tar.xz" linux
	printf 'Package: linux-source-%s\nVersion: %s\nArchitecture: all\nMaintainer: %s\nDescription: x\n' \
		"$line" "$1" 'nobody <nobody@example.com>' > "$scratch/package/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$scratch/package" "$MADE/pool/linux-source-${line}_$1_all.deb" > /dev/null
	rm -r "$scratch"
}

setup()
{
	top=$BATS_TEST_TMPDIR/top
	archive=$BATS_TEST_TMPDIR/archive
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"/test
	mkdir -p "$top" "$archive/pool"
	cp -r "$BATS_TEST_DIRNAME"/../{scripts,configs,hooks,compat,mm,include} "$top"
	echo '# none' > "$top/scripts/packages"
	publish bookworm 7.2.5-1
	publish trixie-backports 7.3.9-1
	serve
	make_host
	export KEYRING=$MADE/keys.gpg
}

teardown()
{
	kill "$server" 2> /dev/null || true
}

# The archive over HTTP, at $mirror
serve()
{
	python3 -u -m http.server --bind 127.0.0.1 --directory "$archive" 0 \
		> "$BATS_TEST_TMPDIR/server" 2> /dev/null 3>&- &
	server=$!
	until mirror=$(grep -oE 'http://127[0-9.]+:[0-9]+' "$BATS_TEST_TMPDIR/server"); do
		sleep 0.05
	done
}

# The host: its apt has bookworm of the archive, and lists of its own.
make_host()
{
	host=$BATS_TEST_TMPDIR/host
	mkdir -p "$host"/{etc/apt.conf.d,etc/preferences.d,lists/partial,cache/archives/partial}
	echo "deb [signed-by=$MADE/keys.gpg] $mirror bookworm main" > "$host/etc/sources.list"
	cat > "$host/apt.conf" <<-END
		Dir::Etc "$host/etc";
		Dir::Etc::main "/dev/null";
		Dir::State::lists "$host/lists";
		Dir::Cache "$host/cache";
	END
	export APT_CONFIG=$host/apt.conf
	apt-get -q update > /dev/null
	echo "APT::Update::Post-Invoke { \"rm $host/ran-after-update\"; };" >> "$host/apt.conf"
	touch "$host/ran-after-update"
}

# publish SUITE VERSION...: they are what the suite has now
publish()
{
	local suite=$1 version file packages

	packages=$archive/dists/$suite/main/binary-$(dpkg --print-architecture)/Packages
	mkdir -p "${packages%/*}"
	printf 'Package: other\nVersion: 1\nArchitecture: all\nFilename: pool/other.deb\n\n' > "$packages"
	shift
	for version in "$@"; do
		file=pool/linux-source-${version%.*}_${version}_all.deb
		cp "$MADE/$file" "$archive/$file"
		{
			dpkg-deb -f "$archive/$file"
			printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$archive/$file")" \
				"$(sha256sum < "$archive/$file" | cut -d ' ' -f 1)"
		} >> "$packages"
	done
	sign "$suite"
}

# sign SUITE
sign()
{
	local name suite=$archive/dists/$1

	name=main/binary-$(dpkg --print-architecture)/Packages
	{
		printf '%s\n' 'Origin: Debian' 'Label: Debian' "Suite: $1" "Codename: $1" "Date: $(date -Ru)" \
			'Components: main' "Architectures: all $(dpkg --print-architecture)" 'SHA256:'
		printf ' %s %s %s\n' "$(sha256sum < "$suite/$name" | cut -d ' ' -f 1)" \
			"$(stat -c %s "$suite/$name")" "$name"
	} > "$suite/Release"
	gpg --batch -q --yes -u archive@example.com --clearsign -o "$suite/InRelease" "$suite/Release"
	rm "$suite/Release"
	# newer than the one before, though that is not a second ago
	clock=$((${clock:-$(date +%s) - 3600} + 1))
	touch -d "@$clock" "$suite/InRelease" "$suite/$name"
}

# The mirror does not answer any more, and what it had is of another day.
cut_network()
{
	kill "$server"
	wait "$server" || true
	[ ! -d "$top/build/apt" ] || find "$top/build/apt" -name fetched -exec touch -d '2 days ago' {} +
}

assert_says()
{
	[[ $output == *"$1"* ]] || { echo "no '$1' in: $output"; return 1; }
}

state_of_host()
{
	find "$host" -printf '%p %s %T@\n' | sort
	find "$host" -type f -exec sha256sum {} + | sort
}

@test "the newest of what the archive has, by the package's version" {
	publish trixie-backports 7.3.9-1 7.3.10-1
	run -0 "$top/scripts/archive" list 7.3
	[ "$output" = $'7.3.10-1\n7.3.9-1' ] || { echo "$output"; false; }
}

@test "where the host's apt knows the line, it is taken from there" {
	run -0 "$top/scripts/archive" list 7.2
	[ "$output" = 7.2.5-1 ]
	KERNEL=7.2 run -0 "$top/scripts/build" source
	assert_says 'Linux 7.2.5'
}

@test "it is fetched and unpacked, beside the other line's" {
	KERNEL=7.3 run -0 "$top/scripts/build" source
	assert_says "Linux 7.3.9 in $top/build/7.3/linux-7.3.9"
	run ! ls "$top/build/7.3/fetched" "$top/build/source"
	grep -q 'SUBLEVEL = 9' "$top/build/7.3/source/Makefile"
	# without fetching again
	rm "$archive"/pool/*
	KERNEL=7.3/debug run -0 "$top/scripts/build" source
	assert_says 'Linux 7.3.9'
}

@test "nothing of the host's apt changes" {
	state_of_host > "$BATS_TEST_TMPDIR/before"
	[ -z "$(ls "$host/lists/partial")" ]
	KERNEL=7.3 run -0 "$top/scripts/build" source
	state_of_host > "$BATS_TEST_TMPDIR/after"
	diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}

@test "a newer point release takes the older one's place" {
	KERNEL=7.3 run -0 "$top/scripts/build" source
	publish trixie-backports 7.3.9-1 7.3.10-1
	KERNEL=7.3 run -0 "$top/scripts/build" source
	assert_says 'Linux 7.3.10'
	[ ! -e "$top/build/7.3/linux-7.3.9" ]
	[ "$(readlink "$top/build/7.3/source")" = linux-7.3.10 ]
}

@test "the archive is asked once a day, and at once when told so" {
	run -0 "$top/scripts/archive" list 7.3
	publish trixie-backports 7.3.9-1 7.3.10-1
	run -0 "$top/scripts/archive" list 7.3
	[ "$output" = 7.3.9-1 ]
	run -0 "$top/scripts/archive" --fresh list 7.3
	[ "${lines[0]}" = 7.3.10-1 ]
	publish trixie-backports 7.3.9-1
	touch -d '25 hours ago' "$top/build/apt/7.3/fetched"
	run -0 "$top/scripts/archive" list 7.3
	[ "$output" = 7.3.9-1 ]
}

@test "a signature by another key, and none, are refused with a remedy" {
	KEYRING=$MADE/other.gpg run -1 "$top/scripts/archive" list 7.3
	assert_says "the archive's signature does not check: apt-get install debian-archive-keyring"
	rm "$archive/dists/trixie-backports/InRelease"
	run -1 "$top/scripts/archive" --fresh list 7.3
	assert_says 'LINUX=DIR'
}

@test "what the host's apt lets pass unsigned is not let pass here" {
	rm "$archive/dists/trixie-backports/InRelease"
	cat >> "$host/apt.conf" <<-END
		Acquire::AllowInsecureRepositories "true";
		APT::Get::AllowUnauthenticated "true";
	END
	run -1 "$top/scripts/archive" list 7.3
	[ ! -e "$top/build/apt/7.3/fetched" ]
}

@test "a package that is not the signed one is refused" {
	run -0 "$top/scripts/archive" list 7.3
	printf x | dd of="$archive/pool/linux-source-7.3_7.3.9-1_all.deb" bs=1 seek=200 conv=notrunc status=none
	run -1 "$top/scripts/archive" get 7.3 7.3.9-1 "$BATS_TEST_TMPDIR/got"
	assert_says 'cannot download linux-source-7.3 7.3.9-1'
	[ ! -e "$BATS_TEST_TMPDIR/got/linux-source-7.3.tar.xz" ]
}

@test "no such line, no such suite, no mirror, no keys" {
	run -1 "$top/scripts/archive" list 7.9
	assert_says 'the archive has no linux-source-7.9 in trixie-backports'
	assert_says 'LINUX=DIR'
	SUITES=no-such-suite run -1 "$top/scripts/archive" list 7.3
	assert_says "the host's mirror has no no-such-suite"
	: > "$host/etc/sources.list"
	run -1 "$top/scripts/archive" list 7.3
	assert_says "the host's apt knows no Debian mirror"
	run -2 "$top/scripts/archive" list 7
	run -2 "$top/scripts/archive" list
}

@test "without a network: what is unpacked will do, and without it there is a remedy" {
	KERNEL=7.3 run -0 "$top/scripts/build" source
	cut_network
	KERNEL=7.3 run -0 "$top/scripts/build" source
	assert_says 'the archive cannot be reached: what it had on'
	assert_says 'Linux 7.3.9'
	rm -r "$top/build/apt"
	KERNEL=7.3 run -0 "$top/scripts/build" source
	assert_says 'taking what is unpacked, 7.3.9-1'
	rm -r "$top/build/7.3"
	KERNEL=7.3 run -1 "$top/scripts/build" source
	assert_says 'the archive cannot be reached: try again with a network, or have LINUX=DIR'
}

@test "a source of the user's, which has to be of the line" {
	run -0 "$top/scripts/archive" get 7.3 7.3.9-1 "$BATS_TEST_TMPDIR/got"
	rm -r "$top/build"
	cut_network
	export ARCHIVE=$BATS_TEST_TMPDIR/got/linux-source-7.3.tar.xz
	run -1 "$top/scripts/build" source
	assert_says 'is Linux 7.3.9, not 6.12: say KERNEL=7.3'
	KERNEL=7.3 run -0 "$top/scripts/build" source
	assert_says 'Linux 7.3.9'
}

@test "KERNEL is a line, a kernel of ours, or both" {
	cp "$BATS_TEST_DIRNAME/../Makefile" "$top"
	for words in ':hugepoison' 'debug:debug' '7.3:7.3/hugepoison' '7.3/debug:7.3/debug' '6.12/stock:stock'; do
		run -0 make -s -n -C "$top" vm KERNEL="${words%:*}"
		[ "$output" = "scripts/vm --kernel ${words#*:}" ] || { echo "$words: $output"; false; }
	done
	run -2 "$BATS_TEST_DIRNAME/../scripts/vm" --kernel 7.99/stock -- true
	assert_says "run 'make stock KERNEL=7.99'"
}

# Two hooks, one of them in another form for 6.12, and releases to try them on
few_hooks()
{
	rm -r "$top"/hooks/* "$top/compat"/*
	mkdir "$top/compat/6.12"
	printf 'mm/memory-failure.c\tafter\tint %s;\tint ours_%s;\n' both 1 newer 2 > "$top/hooks/insertions"
	printf 'mm/memory-failure.c\tafter\tint old;\tint ours_2;\n' > "$top/compat/6.12/insertions"
	publish bookworm 6.12.1-1 6.12.2-1
	publish trixie-backports 7.3.9-1 7.3.10-1
	apt-get -q update > /dev/null
	touch "$host/ran-after-update"
}

@test "a table of hooks and releases, each with what it needs of compat/" {
	few_hooks
	run -0 "$top/scripts/point-releases"
	assert_says 'hook               file                 6.12.1  6.12.2  7.3.9  7.3.10'
	assert_says '6.12/insertions:1  mm/memory-failure.c       +       +               '
	assert_says 'insertions:1       mm/memory-failure.c       +       +      +       +'
	assert_says 'insertions:2       mm/memory-failure.c                      +       +'
	assert_says '6.12: all hooks fit 2 of 2 point releases, compat/6.12'
	assert_says '7.3: all hooks fit 2 of 2 point releases, the newest form'
	# nothing is fetched again, and only what is asked for is tried
	rm "$archive"/pool/*
	run -0 "$top/scripts/point-releases" --newest
	assert_says '6.12.2  7.3.10'
	run -0 "$top/scripts/point-releases" 7.3 --releases 7.3.9
	assert_says '7.3: all hooks fit 1 of 1 point release, the newest form'
}

@test "a hook that does not fit is a failure" {
	few_hooks
	printf 'mm/memory-failure.c\tafter\tint none;\tint ours_3;\n' >> "$top/hooks/insertions"
	run -1 "$top/scripts/point-releases" 6.12 --oldest
	assert_says "insertions:3: mm/memory-failure.c has 0 lines 'int none;', exactly 1 expected (6.12.1)"
	assert_says '6.12: all hooks fit 0 of 1 point release, compat/6.12'
	run -1 "$top/scripts/point-releases" --releases 6.12.7
	assert_says 'the archive has no 6.12.7'
	run -2 "$top/scripts/point-releases" --build 7.3
}
