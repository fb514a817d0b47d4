# make help lists what there is.

GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s
FUZZED      ?= ./...
# Real mounts, real registries and the race detector are in the tests: more
# packages at a time only take the processors from each other.
PARALLEL    ?= 2
FOLDERS     := cmd digest driver fsmount manifest storage testdata

# What the tests run, as command:package. The race detector needs a C compiler.
TEST_TOOLS := fusermount3:fuse3 mount:mount mkfs.xfs:xfsprogs \
	docker-registry:docker-registry skopeo:skopeo rsync:rsync getfattr:attr \
	strace:strace busybox:busybox vim:vim tar:tar curl:curl jq:jq \
	umoci:umoci buildah:buildah podman:podman runc:runc \
	setpriv:util-linux script:bsdutils openssl:openssl fio:fio mkfs.ext4:e2fsprogs gcc:gcc /usr/include/stdlib.h:libc6-dev

# What they run that Debian does not have is installed in bin/tools.
CRANE  := github.com/google/go-containerregistry/cmd/crane@v0.22.1
REGCTL := github.com/regclient/regclient/cmd/regctl@v0.11.7

# What registryfs is compared with: programs as above.
BENCH_TOOLS := fusermount3:fuse3 curl:curl openssl:openssl fio:fio mkfs.ext4:e2fsprogs
PEERS       := github.com/distribution/distribution/v3/cmd/registry@v3.1.2 $(CRANE)

.DEFAULT_GOAL := help
.PHONY: demo build tools test test-long bench lint fuzz clean help

demo: build ## show a registry, mounted on demo/mnt, until Ctrl-C
	testdata/install.sh fusermount3:fuse3
	testdata/demo.sh bin/registryfs

build: ## make bin/registryfs, a static program
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/registryfs ./cmd/registryfs

tools: ## install the programs that the tests run
	testdata/install.sh $(TEST_TOOLS)
	for tool in $(CRANE) $(REGCTL); do GOBIN=$(CURDIR)/bin/tools $(GO) install $$tool || exit; done
	$(GO) build -C testdata/oras -o $(CURDIR)/bin/tools/oras .

test: lint tools ## run the tests, the long ones shortened, with the race detector
	$(GO) test -race -short -timeout 20m -p $(PARALLEL) ./...
	$(MAKE) --no-print-directory fuzz FUZZTIME=500x FUZZED="./digest ./driver ./manifest ./storage"

test-long: lint tools ## run all of the tests at full length
	$(GO) test -race -timeout 3h -p $(PARALLEL) ./...
	$(GO) test -timeout 3h -run '^TestModel$$/^Mem$$' ./storage -rapid.checks=10000 -rapid.steps=200
	$(GO) test -race -timeout 3h -run '^TestModel$$/^(File|TwoRegistries)$$' ./storage -rapid.checks=300 -rapid.steps=200
	$(GO) test -race -timeout 3h -run '^TestModel$$' ./fsmount -rapid.checks=300 -rapid.steps=200

bench: build ## compare with curl, crane, cp and a registry; QUICK=1: less of all, ROWS=1,3c: some rows
	testdata/install.sh $(BENCH_TOOLS)
	for peer in $(PEERS); do GOBIN=$(CURDIR)/bin/tools $(GO) install $$peer || exit; done
	$(GO) build -o bin/bench ./cmd/bench
	bin/bench -size $(if $(QUICK),quick,full) -rows '$(ROWS)' -out BENCHMARKS.md

lint: ## check formatting, go vet and staticcheck
	@unformatted=$$(gofmt -l $(FOLDERS)); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

fuzz: ## run each fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list $(FUZZED)); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

clean: ## remove what make made
	! mountpoint -q demo/mnt 2>/dev/null || bin/registryfs unmount demo/mnt
	rm -rf bin demo

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12
