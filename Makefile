# hugepoison: everything that can be done here. See README.md.

export PATH := /usr/bin:$(PATH)
SHELL := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@echo 'make TARGET, where TARGET is'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo 'LINUX=DIR make kernel builds a kernel tree of your own'

.PHONY: kernel stock debug
kernel: ## build/hugepoison/bzImage: the kernel with our files mounted
	@scripts/build hugepoison
stock: ## build/stock/bzImage: the same source and configuration without
	@scripts/build stock
debug: ## build/debug/bzImage: ours with lockdep, KASAN, kmemleak and more
	@scripts/build debug

.PHONY: mount hook-count off-check
mount: ## mount our files into build/linux-hugepoison (or LINUX=DIR) only
	@scripts/build mount
hook-count: ## how many lines of stock files change, hook by hook
	@scripts/build mount > /dev/null
	@scripts/mount --count build/linux-hugepoison
off-check: ## with CONFIG_HUGEPOISON=n every hooked object is the stock one
	@scripts/off-check

.PHONY: tools tests
tools: ## the injector, in build/tools
	@scripts/install-packages
	@$(MAKE) -s -C tools
tests: ## the programs that tests/hugetlb-poison/run runs in a guest
	@scripts/build mount > /dev/null
	@$(MAKE) -s -C tests/hugetlb-poison KSRC=$(CURDIR)/build/source OUT=$(CURDIR)/build/tests

.PHONY: demo check mutants vm
demo: ## an injected error in a hugepage: stock kernel and ours
	@scripts/demo
check: ## every check there is (45 minutes from nothing)
	@scripts/check
mutants: ## break our kernel code on purpose: every test must notice (half an hour)
	@scripts/mutants
vm: ## a shell in a guest; KERNEL=stock|hugepoison|debug
	@scripts/vm --kernel $(or $(KERNEL),hugepoison)

.PHONY: clean distclean
clean: ## remove the built kernels' objects, keep source and images
	rm -rf build/*/obj-* build/*/obj build/vm
distclean: ## remove all of build/
	rm -rf build
