# hugepoison: everything that can be done here. See README.md, HACKING.md.

# kbuild's makefiles, as all makefiles, split names at spaces and colons.
ifneq ($(words [$(CURDIR)])$(findstring :,$(CURDIR)),1)
$(error the path '$(CURDIR)' has a space or a colon in it, where the kernel does not build: move it)
endif

export PATH := /usr/bin:$(PATH)
SHELL := /bin/bash
# A line every 20 seconds of what takes long
say := . scripts/building.bash && with_progress
.DEFAULT_GOAL := help

# KERNEL names a line of Linux (7.3), one of our kernels (debug), or both (7.3/debug). The
# line is read by scripts/build; what runs guests takes names such as debug and 7.3/debug.
line := $(filter $(foreach digit,1 2 3 4 5 6 7 8 9,$(digit).%),$(firstword $(subst /, ,$(KERNEL))))
flavour := $(if $(line),$(patsubst $(line)/%,%,$(filter $(line)/%,$(KERNEL))),$(KERNEL))
guest = $(patsubst %,%/,$(filter-out 6.12,$(line)))$(or $(flavour),$(1))

.PHONY: help
help: ## this list
	@echo 'make TARGET, where TARGET is'
	@sed -nE 's/^([a-z%-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo 'LINUX=DIR make kernel builds a kernel tree of your own,'
	@echo 'KERNEL=7.3 make source|stock|vm Linux 7.3 of Debian'"'"'s archive, in build/7.3'

.PHONY: kernel stock debug kcsan hostile-kernel
kernel: ## build/hugepoison/bzImage: the kernel with our files mounted
	@scripts/build hugepoison
stock: ## build/stock/bzImage: the same source and configuration without
	@scripts/build stock
debug: ## build/debug/bzImage: ours with lockdep, KASAN, kmemleak and more
	@scripts/build debug
kcsan: ## build/kcsan/bzImage: ours with the checker of data races
	@scripts/build kcsan
hostile-kernel: ## build/hostile/bzImage: ours, for make hostile
	@scripts/build hostile

.PHONY: source mount hook-count off-check
source: ## only fetch and unpack the kernel source; KERNEL=7.3: the newest 7.3
	@scripts/build source
mount: ## mount our files into build/linux-hugepoison (or LINUX=DIR) only
	@scripts/build mount
hook-count: ## how many lines of stock files change, hook by hook
	@scripts/build mount >&2
	@scripts/mount --count build/linux-hugepoison
off-check: ## with CONFIG_HUGEPOISON=n every hooked object is the stock one
	@scripts/off-check

.PHONY: tools session tests examples
tools: ## the injector, in build/tools
	@scripts/install-packages
	@mkdir -p build
	@$(say) 'the tool' flock build/tools.lock $(MAKE) -s -C tools
session: ## the injector at work in a guest, as docs/injector.md shows it
	@$(MAKE) -s -C tools
	@scripts/vm --memory 2G --pool-2m 16 --pool-1g 0 -- tools/session
tests: ## the programs that tests/hugetlb-poison/run runs in a guest
	@scripts/build mount >&2
	@$(say) 'test programs' flock build/tests.lock $(MAKE) -s -C tests/hugetlb-poison \
		KSRC=$(CURDIR)/build/source OUT=$(CURDIR)/build/tests

examples: ## programs that live with memory errors, in build/examples
	@$(MAKE) -s -C examples OUT=$(CURDIR)/build/examples

.PHONY: test
test: ## one test: make test T=heal; KERNEL= HVO= FULL=1, without T= all names
	@scripts/test $(if $(KERNEL),--kernel $(call guest,hugepoison)) $(if $(HVO),--hvo $(HVO)) \
		$(if $(FULL),--full) $(T)

.PHONY: docs alerts walkers
docs: ## build/docs/html: Documentation/, as the kernel builds its own
	@scripts/docs
walkers: ## what in the kernel walks mappings, and is not decided about yet
	@scripts/walkers
alerts: ## try the example alerts of docs/operations with promtool
	@scripts/docs-alerts

.PHONY: deb deb-lean
deb: ## Debian packages: the tool, and a host's kernel (hours, resumable)
	@scripts/deb tools
	@scripts/deb kernel
deb-lean: ## the same with the guest's kernel, in minutes
	@scripts/deb tools
	@scripts/deb kernel --lean

.PHONY: demo bench pool hostile check check-long selftests soak fuzz mutants vm
linux = $(if $(filter-out 6.12,$(line)),--linux $(line))
demo: ## a database is hit by memory errors: stock kernel and ours; KERNEL=7.3
	@scripts/demo $(linux)
# The kernel to judge; scripts find the stock kernel of its line.
ours = $(if $(KERNEL),--kernel $(call guest,hugepoison))
bench: ## what it costs, in guest instructions: stock kernel and ours; KERNEL=7.3
	@scripts/bench $(ours)
pool: ## what errors do to the pool: the table of docs/pool.md, stock and ours; KERNEL=7.3
	@scripts/pool $(ours)
hostile: ## what 1000 hostile processes can delay or have allocated: docs/hostile.md; KERNEL=7.3
	@scripts/hostile $(if $(KERNEL),--kernel $(call guest,hostile))
check: ## every check, long ones in their short form (about an hour from nothing)
	@scripts/check
check-long: ## in full what make check shortens, and what it has no time for
	@CHECKS=tests/checks-long CHECK_LOGS=build/check-long scripts/check
selftests: ## the kernel's own hugetlb selftests, on stock and on ours; KERNEL=debug, 7.3
	@scripts/selftests $(ours)
soak: tests ## 10000 errors, 10000 in private hugepages; SOAK_ERRORS= SOAK_PRIVATES= KERNEL=
	@scripts/vm --kernel $(call guest,debug) --no-kmemleak --timeout 7200 -- \
		build/tests/soak --errors $(or $(SOAK_ERRORS),10000) \
		--privates $(or $(SOAK_PRIVATES),10000) --seconds 7000
fuzz: ## random calls and errors, all pages checked; SEED= KERNEL= HVO= SECONDS=
	@$(say) 'the fuzzer' flock build/tests.lock $(MAKE) -s -C tests/fuzz OUT=$(CURDIR)/build/tests
	@tests/fuzz/run --kernel $(call guest,hugepoison) --hvo $(or $(HVO),off) -- \
		$(if $(SEED),--seed $(SEED) --rounds 5) --seconds $(or $(SECONDS),120) $(FUZZ)
mutants: ## break our kernel code on purpose: every test must notice (half an hour)
	@scripts/mutants
vm: ## a shell in a guest; KERNEL=stock|hugepoison|debug, or 7.3/stock
	@scripts/vm --kernel $(call guest,hugepoison)

.PHONY: prove
prove: ## databases, virtual machines, machine checks: stock and ours, docs/proofs.md; KERNEL=7.3
	@scripts/prove $(linux) $(if $(QUICK),--quick)
prove-%: ## one of them; QUICK=1 for its short version
	@scripts/prove $(linux) $(if $(QUICK),--quick) $*

.PHONY: series series-tree check-series
# The patches are for the newest line; KERNEL=6.12 says so for the other.
newest = $(shell sed -n 's/^NEWEST = "\(.*\)"/\1/p' scripts/guest.py)
for_line = KERNEL=$(or $(line),$(newest))
series-tree:
	@$(for_line) scripts/build mount >&2
series: series-tree ## the patches for a maintainer, mail-ready, in build/series; KERNEL=6.12, SERIES=OPTIONS
	@$(for_line) scripts/series $(SERIES)
check-series: ## build and boot each of them, option on and off (hours)
	@$(MAKE) $(for_line) kernel stock tools series SERIES=--any-author
	@$(for_line) scripts/series-build --boot

.PHONY: releases
releases: ## which hooks fit which point releases of Linux 6.12 and 7.3, a table
	@scripts/install-packages
	@scripts/point-releases

.PHONY: clean distclean
clean: ## remove the built kernels' objects, keep source and images
	rm -rf build{,/*}/*/obj{-*,} build/vm
distclean: ## remove all of build/
	rm -rf build
