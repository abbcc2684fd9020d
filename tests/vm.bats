#!/usr/bin/env bats
# scripts/vm tells the truth about what happened in the guest. KERNEL names the
# kernel to boot (default: the stock one, the harness needs nothing of ours).

bats_require_minimum_version 1.5.0

setup()
{
	cd "$BATS_TEST_TMPDIR" || return
	crash=/sys/kernel/debug/provoke-crash/DIRECT
}

vm()
{
	"$BATS_TEST_DIRNAME/../scripts/vm" --kernel "${KERNEL:-stock}" --timeout 900 "$@"
}

assert_says()
{
	[[ $output == *"$1"* ]] || { echo "no '$1' in: $output"; return 1; }
}

# bats test_tags=short
@test "the command's exit status comes back" {
	run -0 vm -- true
	run -3 vm -- sh -c 'exit 3'
	run -127 vm -- no-such-program
}

# bats test_tags=short
@test "stdout and stderr come back on their own, whole and unmixed" {
	run -0 --separate-stderr vm -- sh -c 'echo to-stdout; echo to-stderr >&2; seq 20000'
	[ "${lines[0]}" = to-stdout ]
	[ "${lines[20000]}" = 20000 ]
	[ ${#lines[@]} = 20001 ]
	# shellcheck disable=SC2154 # run sets it
	[ "$stderr" = to-stderr ]
}

# bats test_tags=short
@test "arguments and the working directory pass through unharmed" {
	mkdir "a b'c"
	cd "a b'c"
	# shellcheck disable=SC2016 # the guest's shell shall expand it
	run -0 vm --env VARIABLE='x  "y"' -- sh -c 'pwd; printf "<%s>\n" "$VARIABLE" "$@"' sh \
		'$HOME *' '' "it's" $'two\nlines'
	assert_says "$PWD"
	assert_says '<x  "y">'
	# shellcheck disable=SC2016
	assert_says '<$HOME *>'
	assert_says '<>'
	assert_says "<it's>"
	assert_says $'<two\nlines>'
}

# bats test_tags=short
@test "the host's files are read and never changed, except in the scratch directory" {
	echo from-host > file
	mkdir scratch
	# shellcheck disable=SC2016
	run -0 vm --scratch scratch -- sh -c 'cat file; echo changed > file; cat file
		echo kept > "$SCRATCH/result"; rm -f /etc/hostname; echo gone > /usr/lib/new-file'
	assert_says from-host
	assert_says changed
	[ "$(cat file)" = from-host ]
	[ "$(cat scratch/result)" = kept ]
	[ -e /etc/hostname ]
	[ ! -e /usr/lib/new-file ]
}

# bats test_tags=short
@test "two nodes, both pools, and the file systems of a running system" {
	# shellcheck disable=SC2016
	run -0 vm --cpus 2 -- sh -c 'cd /sys/devices/system/node
		grep -H . node*/hugepages/*/nr_hugepages node*/cpulist
		stat -f -c "%n %T %S" /dev/hugepages /dev/hugepages-1G /dev/shm /sys/fs/cgroup
		ls /sys/kernel/debug/hwpoison; echo data > /dev/fd/1; cat /sys/class/net/lo/flags'
	assert_says node0/hugepages/hugepages-2048kB/nr_hugepages:64
	assert_says node1/hugepages/hugepages-2048kB/nr_hugepages:64
	assert_says node0/hugepages/hugepages-1048576kB/nr_hugepages:1
	assert_says node1/hugepages/hugepages-1048576kB/nr_hugepages:1
	assert_says node1/cpulist:1
	assert_says '/dev/hugepages hugetlbfs 2097152'
	assert_says '/dev/hugepages-1G hugetlbfs 1073741824'
	assert_says corrupt-pfn
	assert_says 0x9
}

@test "options change the machine" {
	run -0 vm --nodes 1 --memory 1G --cpus 1 --pool-1g 0 --pool-2m 10 \
		--append 'hugetlb_free_vmemmap=on' -- sh -c 'nproc; ls -d /sys/devices/system/node/node*
		cat /proc/sys/vm/nr_hugepages /proc/sys/vm/hugetlb_optimize_vmemmap; free -m'
	[ "${lines[0]}" = 1 ]
	[ "${lines[1]}" = /sys/devices/system/node/node0 ]
	[ "${lines[2]}" = 10 ]
	[ "${lines[3]}" = 1 ]
}

@test "counting instructions works" {
	run -0 vm --icount -- nproc
	[ "$output" = 1 ]
}

@test "what the command leaves running does not delay the end" {
	run -0 vm --timeout 600 -- sh -c 'sleep 1000 & setsid sleep 1000 & echo started'
	assert_says started
}

# The command itself ends well in all of these.
# bats test_tags=short
@test "a kernel warning is a failure" {
	run -1 vm -- sh -c "echo WARNING > $crash"
	assert_says 'vm: FAILED: the kernel reported:'
	assert_says "the command's exit status: 0"
	assert_says 'console.log'
	assert_says 'WARNING: CPU:'
}

# bats test_tags=short
@test "a warning that is expected by name is none, another one still is" {
	run -0 vm --allow 'WARNING: CPU: .* lkdtm_WARNING' --allow 'cut here' -- \
		sh -c "echo WARNING > $crash"
	run -1 vm --allow 'cut here' --allow 'something else' -- sh -c "echo WARNING > $crash"
}

@test "an oops, a panic and a BUG are failures" {
	run -1 vm -- sh -c "echo PANIC > $crash; sleep 100"
	assert_says 'Kernel panic'
	run -1 vm -- sh -c "echo BUG > $crash; sleep 100"
	assert_says 'kernel BUG at'
	run -1 vm -- sh -c "echo EXCEPTION > $crash; sleep 100"
	assert_says 'NULL pointer'
	run -1 vm -- sh -c "echo c > /proc/sysrq-trigger; sleep 100"
	assert_says 'sysrq'
}

@test "a guest that goes without a word is a failure" {
	run -1 vm -- sh -c 'echo b > /proc/sysrq-trigger; sleep 100'
	assert_says 'ended without a result'
}

@test "a hang ends with the time" {
	run -124 vm --timeout 15 -- sleep 1000
	assert_says 'not done after 15 s'
}

# bats test_tags=short
@test "silence ends the guest if asked for, and says where the kernel was" {
	run -124 vm --silence 12 -- sh -c "echo HARDLOCKUP > $crash"
	assert_says 'silent for 12 s'
	assert_says 'lkdtm_HARDLOCKUP+'
}

@test "a handled memory error is no failure" {
	# shellcheck disable=SC2016
	run -0 vm -- sh -c 'echo 0x8000 > /sys/kernel/debug/hwpoison/corrupt-pfn; dmesg | tail -n 5'
	assert_says 'Memory failure: 0x8000'
}

@test "a data race is a failure where one side of it is ours" {
	run -0 vm -- sh -c 'echo "<3>BUG: KCSAN: data-race in ksys_read / vfs_write" > /dev/kmsg
		echo "<3>BUG: KCSAN: data-race in vfs_write+0x12/0x40" > /dev/kmsg'
	run -1 vm -- sh -c 'echo "<3>BUG: KCSAN: data-race in ksys_read / hugepoison_narrow.part.0" > /dev/kmsg'
	assert_says 'the kernel reported: '
	run -1 vm -- sh -c 'echo "<3>BUG: KCSAN: data-race in hugepoison_contain_used+0x12/0x40" > /dev/kmsg'
}

# bats test_tags=short
@test "words of failure in a program's own output are none" {
	run -0 vm -- sh -c 'echo "WARNING: CPU: 0 Kernel panic - not syncing BUG: "'
}

# As C has it, so has Python: the list is of POSIX's regular expressions.
# bats test_tags=short
@test "the one list of complaints: what is one, and what is none" {
	tests=$BATS_TEST_DIRNAME/hugetlb-poison
	cat > bad <<-'EOF'
		------------[ cut here ]------------
		WARNING: CPU: 0 PID: 1 at mm/rmap.c:1 f+0x1/0x2
		WARNING: suspicious RCU usage
		BUG: KASAN: slab-use-after-free in f+0x1/0x2
		watchdog: BUG: soft lockup - CPU#0 stuck for 22s!
		watchdog: Watchdog detected hard LOCKUP on cpu 0
		BUG kmalloc-64 (Not tainted): Poison overwritten
		BUG: Bad page state in process cat  pfn:00001
		kernel BUG at mm/rmap.c:1!
		Oops: general protection fault, probably for non-canonical address
		traps: PANIC: double fault, error_code: 0x0
		Kernel panic - not syncing: Attempted to kill init!
		UBSAN: array-index-out-of-bounds in mm/rmap.c:1:2
		INFO: task cat:1 blocked for more than 120 seconds.
		rcu: INFO: rcu_preempt self-detected stall on CPU
		kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
		list_del corruption. prev->next should be 1, but was 2
		refcount_t: underflow; use-after-free.
		vm-init: FAILED: no virtio port named status
	EOF
	cat > good <<-'EOF'
		Memory failure: 0x8000: Sending SIGBUS to cat:1 due to hardware memory corruption
		MCE: Killing cat:1 due to hardware memory corruption fault at 7f0000000000
		Memory failure: 0x8000: recovery action for huge page: Recovered
		cat: WARNING: not at the beginning
		DEBUG: nothing
	EOF
	list() { sed -n "/$1\[\]/,/^};/s/^\t\"\(.*\)\",.*/\1/p" "$tests/hp_complaints.h"; }
	list hp_complaints > yes
	list hp_no_complaints > no
	[ "$(wc -l < yes)" -ge 20 ]
	[ "$(grep -Ef yes bad | grep -vcEf no)" = "$(wc -l < bad)" ]
	run -1 grep -vEf no <(grep -Ef yes good)
	PYTHONPATH=$tests run -0 python3 -B -c '
from complaints import is_complaint
assert all(is_complaint(line) for line in open("bad"))
assert not any(is_complaint(line) for line in open("good"))'
}

# bats test_tags=short
@test "stale code of the emulator is not taken for a failure of the command" {
	cat > "$BATS_TEST_TMPDIR/stale" <<-'EOF'
		import sys
		sys.dont_write_bytecode = True
		sys.path.insert(0, sys.argv[1])
		from loading import load
		vm = load("vm")

		def stale(status, console):
		    guest = vm.Guest.__new__(vm.Guest)
		    guest.status, guest.console = vm.Tail("/dev/null"), vm.Tail("/dev/null")
		    guest.status.text, guest.console.text = status, console
		    return guest.ran_stale_code()

		oops = b"[    1.328492] Oops: int3: 0000 [#1] PREEMPT SMP\r\n"
		assert stale(b"", oops)
		assert not stale(b"up\n", oops)
		assert not stale(b"", oops.replace(b"int3", b"general protection fault"))
	EOF
	run -0 python3 "$BATS_TEST_TMPDIR/stale" "$BATS_TEST_DIRNAME/../scripts"
}

# bats test_tags=short
@test "an emulator that dies of a signal says nothing about the kernel: once more" {
	mkdir scratch
	# shellcheck disable=SC2016
	vm --scratch scratch -- sh -c '[ -e "$SCRATCH/once" ] && exit 5
		touch "$SCRATCH/once"; sleep 1000' 2> err & pid=$!
	for _ in $(seq 2000); do
		[ -e scratch/once ] && break
		sleep 0.3
	done
	[ -e scratch/once ]
	pkill -SEGV -P "$(pgrep -P $pid)" qemu-system
	status=0
	wait $pid || status=$?
	[ $status = 5 ]
	grep -q 'the emulator died of signal 11; once more' err
}

@test "two guests at a time do not meet" {
	vm -- sh -c 'sleep 3; echo first' > first & first=$!
	vm -- sh -c 'sleep 3; echo second; exit 7' > second & second=$!
	wait $first
	status=0
	wait $second || status=$?
	[ $status = 7 ]
	[ "$(cat first)" = first ]
	[ "$(cat second)" = second ]
}

@test "an interrupt ends the guest" {
	"$BATS_TEST_DIRNAME/../scripts/vm" --kernel "${KERNEL:-stock}" -- \
		sh -c 'echo ready; sleep 1000' > out & pid=$!
	for _ in $(seq 2000); do
		grep -q ready out && break
		sleep 0.3
	done
	grep -q ready out
	qemu=$(pgrep -P $pid)
	[ "$qemu" ]
	# Background jobs have SIGINT ignored, so the other one.
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	[ $status = 143 ]
	run -1 kill -0 "$qemu"
}

# bats test_tags=short
@test "wrong usage is reported before anything happens" {
	run -2 vm --memory much -- true
	assert_says 'is no size'
	run -2 vm --memory 1G -- true
	assert_says 'too few for'
	run -2 vm --kernel no/such/image -- true
	assert_says 'no kernel image'
	run -2 vm --scratch no-such-directory -- true
	assert_says 'no such directory'
	run -2 vm --allow '(' -- true
	run -2 vm --no-such-option -- true
	run -2 vm < /dev/null
	assert_says 'no terminal'
}
