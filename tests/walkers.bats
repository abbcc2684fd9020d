#!/usr/bin/env bats
# scripts/walkers: the table of what walks mappings has all that the kernel's source
# has, and what it misses is named. Run after `make kernel`.

bats_require_minimum_version 1.5.0

setup()
{
	walkers=$BATS_TEST_DIRNAME/../scripts/walkers
	tree=$BATS_TEST_TMPDIR/tree
	decisions=$BATS_TEST_TMPDIR/decisions
	mkdir -p "$tree/mm"
	cat > "$tree/mm/look.c" <<-'END'
		/* is_vm_hugetlb_page(vma) in a comment */
		static int look_at(struct vm_area_struct *vma,
				   unsigned long address)
		{
			return is_vm_hugetlb_page(vma) ? 1 : 2;
		}

		static const struct mm_walk_ops look_ops = {
			.pmd_entry = look_at_pmd,
		};
	END
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe narrow
}

# decide FILE FUNCTIONS CONSTRUCTS DECISION TESTS: one line of the table
decide()
{
	printf 'Looks\t%s\t%s\t%s\t%s\tsafe\tIt looks.\t%s\n' "$@" > "$decisions"
}

# looks STATUS TEXT: at the small tree
looks()
{
	run "-$1" "$walkers" --source "$tree" --decisions "$decisions"
	[[ $output == *"$2"* ]] || { echo "no '$2' in: $output"; return 1; }
}

@test "the kernels' sources have nothing that the table lacks, nor the table anything else" {
	run -0 "$walkers"
	[[ $output =~ ([0-9]+)\ places\ in\ [0-9]+\ files,\ ([0-9]+)\ decisions,\ 0\ complaints ]]
	[ "${BASH_REMATCH[1]}" -gt 500 ]
}

@test "so it is with Linux 7.3" {
	[ -d "$BATS_TEST_DIRNAME/../build/7.3/source" ] || skip "no source: KERNEL=7.3 make source"
	run -0 "$walkers"
	[[ $output == *', 0 complaints, sources: 2'* ]]
}

@test "all that is decided is no complaint" { looks 0 '2 places in 1 files, 1 decisions, 0 complaints'; }

@test "a new function, a new construct in a known one" {
	printf 'void look_more(void)\n{\n\tpte_offset_map_lock(mm, pmd, 0, &ptl);\n}\n' >> "$tree/mm/look.c"
	looks 1 'undecided: mm/look.c: look_more() has pte_offset_map'
	[[ $output == *'remedy: undecided: add a line with the function to Documentation/mm/hugepoison-walkers.tsv'* ]]
	sed -i 's/1 : 2/vma_is_anonymous(vma)/' "$tree/mm/look.c"
	looks 1 'new: mm/look.c: look_at() has vma_is_anonymous, line 1 does not know it'
}

@test "a function that is gone, a construct that is gone" {
	sed -i 's/look_at(struct/look_on(struct/' "$tree/mm/look.c"
	looks 1 'gone: mm/look.c: look_at(), line 1'
	sed -i 's/look_on(struct/look_at(struct/; s/is_vm_hugetlb_page(vma) ?/vma ?/' "$tree/mm/look.c"
	looks 1 'gone: mm/look.c: no is_vm_hugetlb_page'
}

@test "what one of two sources has is not gone" {
	local new=$BATS_TEST_TMPDIR/new

	mkdir -p "$new/mm"
	sed 's/look_at(struct/look_on(struct/' "$tree/mm/look.c" > "$new/mm/look.c"
	looks 0 '0 complaints, sources: 1'
	run -1 "$walkers" --source "$tree" --source "$new" --decisions "$decisions"
	[[ $output == *'undecided: mm/look.c: look_on() has is_vm_hugetlb_page'* && $output != *gone:* ]]
	decide mm/look.c look_at,look_on,look_ops is_vm_hugetlb_page,mm_walk_ops safe narrow
	run -0 "$walkers" --source "$tree" --source "$new" --decisions "$decisions"
	[[ $output == *'0 complaints, sources: 2'* ]]
	looks 1 'gone: mm/look.c: look_on(), line 1'
}

@test "no decision, no hook, no test of such a name" {
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops '' narrow
	looks 1 "no decision: '', line 1"
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops hooked:nothing narrow
	looks 1 'no hook nothing, line 1'
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe walkers.no_such_case
	looks 1 'no test walkers.no_such_case, line 1'
	[[ $output == *'remedy: no test: write PROGRAM.CASE: tests/hugetlb-poison/PROGRAM.c has TEST'* ]]
	run -1 grep -c 'remedy: gone' <<< "$output"
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe kunit.no_such_case
	looks 1 'no test kunit.no_such_case, line 1'
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe walkers.advises,prove-vm
	looks 0 '0 complaints'
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe kunit.hugepoison_test_settled
	looks 0 '0 complaints'
}

@test "a function that comes there has a test" {
	local decision

	for decision in safe differs ours hooked:handle_mm_fault never; do
		decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops "$decision" -
		looks 1 'untested: mm/look.c: look_at, look_ops, line 1'
		[[ $output == *'remedy: untested: name its test in column 8'* ]]
		sed -i 's/\tsafe\tIt looks/\tnever\tIt looks/' "$decisions"
		[ "$decision" = never ] || looks 1 'untested: mm/look.c'
	done
	looks 0 '0 complaints'
}

@test "a reason to have no test is one of few, and holds" {
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe argued:definition
	looks 0 '0 complaints'
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe argued:CONFIG_NO_SUCH_OPTION
	looks 0 '0 complaints'
	for argument in '' because CONFIG_NO_SUCH_OPTION+; do
		decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe "argued:$argument"
		looks 1 "no argument: '$argument', line 1"
	done
	decide mm/look.c look_at,look_ops is_vm_hugetlb_page,mm_walk_ops safe \
	       argued:CONFIG_NO_SUCH_OPTION+CONFIG_HUGETLBFS
	looks 1 'a guest has CONFIG_HUGETLBFS, line 1'
	[[ $output == *'remedy: a guest has: write a test'* ]]
}

@test "a name comes before a pattern, a longer pattern before a shorter one" {
	decide 'mm/*' '*' mm_walk_ops never narrow
	printf 'Looks\tmm/look.c\tlook_at\tis_vm_hugetlb_page\tsafe\tsafe\tIt looks.\tnarrow\n' >> "$decisions"
	looks 0 '2 decisions, 0 complaints'
}

@test "no source" {
	run -2 "$walkers" --source "$BATS_TEST_TMPDIR"
	[[ $output == *'is no kernel source'* ]]
}
