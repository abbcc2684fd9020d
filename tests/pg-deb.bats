#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031 # variables of each test
# SPDX-License-Identifier: GPL-2.0
# The package of pg_hugepoison: what is in it, a server loads it, it comes and goes without a
# trace. Run as root. SERVER=17 tests that for PostgreSQL 17, in a root of its Debian.

bats_require_minimum_version 1.5.0

setup_file()
{
	cd "$BATS_TEST_DIRNAME/.." || return
	[ "$(id -u)" = 0 ] || skip "not root"
	PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/${SERVER:-15}/bin/pg_config}
	[ ! "$SERVER" ] || OTHER=$(extensions/postgresql/debian-root "$SERVER")
	TREE=$PWD
	export OTHER TREE
	BIN=$(with_server "$PG_CONFIG" --bindir)
	LIBRARY=$(with_server "$PG_CONFIG" --pkglibdir)/pg_hugepoison.so
	EXTENSION=$(with_server "$PG_CONFIG" --sharedir)/extension
	# a version of its own: not the file of somebody who has built one
	PACKAGE=$PWD/$(REVISION=0test$$ extensions/postgresql/deb ${SERVER:+--server "$SERVER"} | tail -n 1)
	[ -f "$PACKAGE" ]
	NAME=$(dpkg-deb -f "$PACKAGE" Package)
	export PACKAGE NAME PG_CONFIG BIN LIBRARY EXTENSION
}

# Runs a command where the server is: in the root OTHER, if there is one.
with_server()
{
	if [ "$OTHER" ]; then
		"$TREE/extensions/postgresql/in-root" "$OTHER" "$@"
	else
		"$@"
	fi
}

teardown_file()
{
	[ ! "$PACKAGE" ] || rm -f "$PACKAGE"
}

setup()
{
	export LC_ALL=C root=$BATS_TEST_TMPDIR/root
	mkdir "$root"
}

teardown()
{
	[ ! "$server" ] || rm -rf "$OTHER$server"
}

# A dpkg without Debian: what the package depends on is not there.
dpkg_in_root()
{
	dpkg --root="$root" --log=/dev/null --force-depends "$@" 2>&1
}

# Files and directories, without dpkg's own
files()
{
	(cd "$root" && find . -path ./var -prune -o -printf '%p %y %m %U %G\n' | sort)
}

@test "the package has the library, the extension's files and its document, nothing else" {
	run -0 sh -c "dpkg-deb --fsys-tarfile '$PACKAGE' | tar -t"
	diff <(grep -v '/$' <<< "$output" | sed 's/^\.//' | sort) <(sort <<-END
		$LIBRARY
		$EXTENSION/pg_hugepoison.control
		$EXTENSION/pg_hugepoison--$(sed -n "s/^default_version = '\(.*\)'/\1/p" extensions/postgresql/pg_hugepoison.control).sql
		/usr/share/doc/$NAME/README.md
		/usr/share/doc/$NAME/changelog.Debian.gz
		/usr/share/doc/$NAME/copyright
	END
	)
}

@test "it needs the server that it was built for, and the C library that it was linked to" {
	local major newest stated

	run -0 dpkg-deb -f "$PACKAGE" Depends
	major=$(with_server "$PG_CONFIG" --version | grep -oE '[0-9]+' | head -n 1)
	[[ ", $output," == *", postgresql-$major,"* ]]
	stated=$(grep -oE 'libc6 \(>= [0-9.]+' <<< "$output" | cut -d ' ' -f 3)
	dpkg-deb -x "$PACKAGE" "$root"
	newest=$(objdump -T "$root$LIBRARY" | grep -oE 'GLIBC_[0-9.]+' | cut -d _ -f 2 | sort -V | tail -n 1)
	dpkg --compare-versions "$newest" le "$stated" || { echo "needs $newest, says $stated"; return 1; }
}

@test "no script of the package runs as root" {
	dpkg-deb -e "$PACKAGE" "$root/control"
	[ "$(ls "$root/control")" = control ]
}

@test "lintian finds nothing, not even a warning" {
	run -0 lintian --allow-root --fail-on error,warning "$PACKAGE"
	[ -z "$output" ]
}

@test "a server loads the package's library, and its SQL makes the view" {
	local sql

	# the server's user does not come into bats' own directories
	server=$(with_server mktemp -d)
	dpkg-deb -x "$PACKAGE" "$OTHER$server/root"
	with_server chown postgres "$server"
	sql=$(ls "$OTHER$server/root$EXTENSION"/*.sql)
	cd / || return
	run -0 with_server runuser -u postgres -- "$BIN/initdb" -N -A trust -D "$server/data"
	# The library by its path, as the host may have another one. A command ends with an empty
	# line.
	{
		sed -e '/^\\echo/d' -e "s|MODULE_PATHNAME|$server/root$LIBRARY|" "$sql"
		printf '\n%s\n\n' 'show pg_hugepoison.timeout;' 'select count(*) as events from pg_hugepoison;'
	} > "$OTHER$server/commands"
	run -0 with_server runuser -u postgres -- "$BIN/postgres" --single -j -D "$server/data" \
		-c "shared_preload_libraries=$server/root$LIBRARY" postgres < "$OTHER$server/commands"
	[[ $output == *'pg_hugepoison.timeout = "10s"'* && $output == *'events = "0"'* &&
		$output != *ERROR* ]] || { echo "$output"; return 1; }
}

@test "the package is installed, and removed without a trace" {
	mkdir -p "$root/var/lib/dpkg"/{info,updates}
	touch "$root/var/lib/dpkg"/{status,available}
	files > "$BATS_TEST_TMPDIR/before"
	run -0 dpkg_in_root --install "$PACKAGE"
	[ "$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${db:Status-Status}' "$NAME")" = installed ]
	[ -s "$root$LIBRARY" ]
	[ "$(stat -c '%a %u %g' "$root$LIBRARY")" = '644 0 0' ]
	run -0 dpkg_in_root --purge "$NAME"
	diff "$BATS_TEST_TMPDIR/before" <(files)
}
