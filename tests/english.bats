#!/usr/bin/env bats
# scripts/english: finds each pattern, in each kind of text, and leaves good English alone.
# The sentences are in here-documents, which scripts/english does not read.

bats_require_minimum_version 1.5.0

setup()
{
	english=$(realpath "$BATS_TEST_DIRNAME/../scripts/english")
	cd "$BATS_TEST_TMPDIR" || return
}

# finds RULE, in the sentence on standard input
finds()
{
	{ echo '/*'; sed 's/^/ * /'; echo ' */'; } > file.c
	run -1 "$english" file.c
	[[ $output == "file.c:2: "*": $1: "* ]] || { echo "no $1: $output"; return 1; }
	[ "${#lines[@]}" = 1 ]
}

@test "each rule finds its pattern" {
	finds who <<- END
		Who looks up the hugepage waits for the lock.
	END
	finds who <<- END
		Whoever comes first, the owner gets it.
	END
	finds who <<- END
		The entry has a reference; whoever clears the entry drops it.
	END
	finds what <<- END
		What is left to do runs on a workqueue.
	END
	finds what <<- END
		Whatever was written before counts.
	END
	finds those <<- END
		Those that poison memory come last.
	END
	finds for-who <<- END
		The lock is taken for who asks.
	END
	finds those-who <<- END
		The signal goes to those who map it.
	END
	finds is-told <<- END
		The owner is told of the error.
	END
	finds nobody-tells <<- END
		So poll: nobody tells when the last of its users is gone.
	END
	finds none-any-more <<- END
		The hugepage is none any more.
	END
	finds to-be-had <<- END
		No hugepage is to be had.
	END
	[ "$("$english" --rules | wc -l)" = 9 ]
}

@test "a sentence may begin behind another one, and span lines; the line is its first" {
	cat > file.c <<- END
		int x;	/* a count */

		/*
		 * The handler unmaps the page. What
		 * is narrowed before stays so.
		 */
	END
	run -1 "$english" file.c
	[[ $output == 'file.c:4: "What'*'before stays so."'* ]]
}

@test "good English, titles and questions are left alone" {
	cat > file.md <<- END
		# What it costs

		Lookups block on the folio lock. The caller, who holds it, says what is left.
		The tool names the mappers and those that have left. What is a hugepage?
		Nothing notifies us when the last user leaves, so poll. The counter tells it.

		Who may do what
		---------------

		    what a process is told
	END
	run -1 "$english" file.md		# the last line, and no other
	[ "${#lines[@]}" = 1 ]
	[[ $output == "file.md:10: "* ]]
	sed -i '$d' file.md
	run -0 "$english" file.md
	[ -z "$output" ]
}

@test "comments, strings, documents, man pages, tables and commit messages are read" {
	local sentence file
	sentence=$(cat <<- END
		Who asks waits.
	END
	)
	mkdir series
	echo "int x; /* $sentence */" > comment.c
	echo "char *x = \"$sentence\";" > string.c
	printf '// %s\n@@\n@@\n' "$sentence" > hook.cocci
	printf '#!/usr/bin/python3\n"""%s"""\n' "$sentence" > script
	printf '#!/usr/bin/python3\nprint(f"%s")\n' "$sentence" > print
	printf '#!/bin/bash\n# %s\n' "$sentence" > shell
	printf '#!/bin/bash\necho "%s"\n' "$sentence" > says
	printf '\t# %s\n' "$sentence" > test.bats
	printf '.SH NAME\n%s\n' "$sentence" > page.8
	printf '.It Fl -x\n%s\n' "$sentence" > page.7
	printf 'a\t%s\tb\n' "$sentence" > table.tsv
	printf '| a | %s |\n' "$sentence" > table.md
	printf -- '- %s\n' "$sentence" > list.rst
	printf 'mm: x\n\n%s\n' "$sentence" > series/01-x
	printf 'config X\n\thelp\n\t  %s\n' "$sentence" > Kconfig
	for file in *.* script print shell says series/* Kconfig; do
		run -1 "$english" "$file"
		[[ $output == "$file:"[123]": "* ]] || { echo "$file: $output"; return 1; }
	done
}

@test "names of files are taken, wrong usage is refused, our text is clean" {
	run -2 "$english" --no-such-option
	run -0 "$english" no-such-file
	cd "$BATS_TEST_DIRNAME/.." || return
	run -0 "$english"
	[ -z "$output" ]
}
