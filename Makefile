# Each target says what it installs; everything else is Go.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN      ?= $(CURDIR)/build/bin
PROGRAMS := mmm_mond mmm_agentd mmm_control
SERVER_PACKAGES := mariadb-server-core mariadb-client-core iptables nftables

# Database servers that are fetched and not installed: for all tests, and besides for every-server alone.
SERVERS      := mysql-9.7
MORE_SERVERS := mariadb-11.8 mariadb-10.5
export MMM_SERVERS := $(CURDIR)/build/servers

.PHONY: all help build test unit race compiler e2e lint bench demo fuzz clean server servers every-server golden sim matrix calm soak histories test-page test-balancer check-monitoring packages test-packages

all: build

help: ## what can be made
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: ## the three static programs, in build/bin
	@mkdir -p $(BIN)
	@for p in $(PROGRAMS); do CGO_ENABLED=0 $(GO) build $(GO_BUILD_FLAGS) -ldflags "$(LDFLAGS) -X main.version=$(VERSION)" -o $(BIN)/$$p ./cmd/$$p || exit 1; done
	@echo "built $(PROGRAMS) $(VERSION) in $(BIN)"

server: ## MariaDB, iptables and nft, installed where they are missing (needs root for that)
	@if command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null && command -v iptables >/dev/null && command -v nft >/dev/null; then :; \
	elif command -v apt-get >/dev/null; then \
		echo "installing $(SERVER_PACKAGES) with apt-get"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $(SERVER_PACKAGES) >/dev/null; \
	elif command -v dnf >/dev/null; then \
		echo "installing mariadb-server, iptables-nft, nftables with dnf"; dnf -q -y install mariadb-server iptables-nft nftables; \
	else echo "install mariadbd, mariadb-install-db, iptables and nft first" >&2; exit 1; fi

servers: server ## the servers that tests run on besides the installed MariaDB, in build/servers (Debian's packages, unpacked; no root)
	@test/servers/fetch $(MMM_SERVERS) $(SERVERS)

# Packages in which every switch names every case: a rule about states or modes is to say what it does with a new one.
STRICT = ./pkg/cluster ./pkg/lease

lint: ## formatting, long lines, vet, staticcheck (dead code too) and switches that leave a case out
	@bad=$$($$($(GO) env GOROOT)/bin/gofmt -l $$(git ls-files '*.go')) || exit 1; if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi
	@LC_ALL=C awk '{ l = $$0; gsub(/[\200-\277]/, "", l) } length(l) > 120 && l !~ /["`]/ { print FILENAME ":" FNR ": has more than 120 columns, and no text"; bad = 1 } END { exit bad }' $$(git ls-files '*.go') # in UTF-8, bytes from 200 to 277 (octal) only continue a character
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) tool exhaustive -default-signifies-exhaustive ./...
	$(GO) tool exhaustive -ignore-enum-types '^reflect\.Kind$$' $(STRICT) # even where there is a default

unit: servers ## every package's own tests: pure ones, and those on real kernels and servers (root)
	$(GO) test -timeout 10m ./pkg/mysqlctl ./cmd/... ./pkg/... # mysqlctl first: it waits for servers longer than all others take

# Packages that are tested without the race detector. cluster and config have no goroutines of their own, and take ten
# times as long under it. mysqlctl waits for servers most of the time: make test runs it among the end-to-end tests.
UNRACED = -e /pkg/mysqlctl$$ -e /pkg/cluster$$ -e /pkg/config$$

race: servers compiler ## the packages' own tests, and some hundred worlds, under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 10m $$($(GO) list ./pkg/... | grep -v $(UNRACED))
	CGO_ENABLED=1 $(GO) test -race -timeout 10m -run 'TestOneFault|TestUnwriting' ./test/bubble

compiler: # the race detector needs a C compiler and the headers of libc
	@if echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1; then :; \
	elif command -v apt-get >/dev/null; then \
		echo "installing gcc and libc6-dev with apt-get"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends gcc libc6-dev >/dev/null; \
	elif command -v dnf >/dev/null; then echo "installing gcc and glibc-devel with dnf"; dnf -q -y install gcc glibc-devel; \
	else echo "install a C compiler and the headers of libc first" >&2; exit 1; fi

# The packages of test/ that run beside test/e2e. test/page needs a browser and test/balancer HAProxy: they have targets
# of their own.
TEST_PACKAGES = $(shell $(GO) list ./test/... | grep -v -e /e2e$$ -e /page$$ -e /balancer$$)

e2e: build servers ## the real programs on real servers in network namespaces
	MMM_BIN=$(BIN) MMM_PACKAGES="$(TEST_PACKAGES)" test/e2e/run

test: lint build race ## everything; fails where root or a server is missing
	$(GO) test -timeout 10m ./cmd/... ./pkg/cluster ./pkg/config
	MMM_BIN=$(BIN) MMM_PACKAGES="mysql-mmm/pkg/mysqlctl $(TEST_PACKAGES)" test/e2e/run

test-page: build server ## the status page in a real browser while the writer dies (Chromium; installed with apt-get where it is missing)
	@command -v chromium >/dev/null || { echo "installing chromium with apt-get"; apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends chromium >/dev/null; }
	MMM_BIN=$(BIN) $(GO) test -count=1 -v -timeout 5m ./test/page $(if $(SHOTS),-shots $(abspath $(SHOTS)))

test-balancer: build server ## clients behind HAProxy with the sample that ships, through a move and a failover (installed with apt-get where it is missing)
	@command -v haproxy >/dev/null || { echo "installing haproxy with apt-get"; apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends haproxy >/dev/null; }
	MMM_BIN=$(BIN) $(GO) test -count=1 -v -timeout 5m ./test/balancer

check-monitoring: ## alert rules and what they do in recorded situations, with promtool (unpacked from Debian's package into build/ where it is missing)
	@packaging/prometheus/check build

every-server: build servers ## failover, moves and all statements on every server that can be had
	@test/servers/fetch $(MMM_SERVERS) $(MORE_SERVERS)
	MMM_ALSO="$(MORE_SERVERS)" $(GO) test -timeout 10m ./pkg/mysqlctl
	MMM_ALSO="$(MORE_SERVERS)" MMM_BIN=$(BIN) $(GO) test -timeout 12m -count=1 -v -run TestSoak ./test/e2e

SIM_FOR       ?= 2h
SIM_ABILITIES ?= proven
SIM_SINGLE    ?= 3000
sim: ## the real monitor and agents in made-up worlds, searched on all cores for SIM_FOR, from where the last search ended
	@mkdir -p build/sim
	$(GO) test -c -o build/sim/worlds ./test/bubble
	@cd build/sim && ./worlds -test.run 'TestWorlds$$' -worlds 300 -from 1000000000 -test.cpuprofile profile >/dev/null # half a minute for a profile makes the search a sixth faster
	$(GO) test -c -pgo=build/sim/profile -o build/sim/worlds ./test/bubble
	cd build/sim && ./worlds -test.run 'TestWorlds$$' -test.v -test.timeout 0 -single -worlds $(SIM_SINGLE) -most 0 \
		-abilities $(SIM_ABILITIES) -stories . # the longest time without a writer, by kind
	cd build/sim && ./worlds -test.run 'TestWorlds$$' -test.v -test.timeout 0 -for $(SIM_FOR) -most 0 -abilities $(SIM_ABILITIES) \
		-progress next-$(SIM_ABILITIES) -stories .

matrix: build server ## every fault on a real cluster in every state, as a table (half an hour; ARGS="-state peer -fault mysqld -seconds 1,10,30")
	@$(GO) build -o build/matrix ./test/matrix && MMM_BIN=$(BIN) build/matrix $(ARGS)

calm: build server ## five minutes each of filtered ICMP, lost packets and a busy machine, in which nothing is to happen
	MMM_BIN=$(BIN) $(GO) test -timeout 30m -count=1 -v -run TestNothingHappens ./test/e2e -calmly 5m

soak: build servers ## 50 failovers and 50 moves in a row under load in every way of replicating, as a table
	@$(GO) build -o build/soak ./test/soak && MMM_BIN=$(BIN) build/soak

histories: build servers ## what clients saw while pairs of faults struck, decided by a checker (5 minutes a cluster; ARGS="-runs 100 -mode semi -keep FOLDER -v")
	@$(GO) build -o build/histories ./test/histories && MMM_BIN=$(BIN) build/histories $(ARGS)

golden: ## write the scenario transcripts anew; look at the difference
	$(GO) test ./pkg/cluster -run TestScenarios -rewrite

fuzz: ## half a minute on each parser
	@for t in $$(grep -rhoE '^func Fuzz[A-Za-z]+' pkg | sed 's/func //' | sort -u); do \
		for p in $$(grep -rlE "^func $$t\(" pkg | xargs -n1 dirname | sort -u); do echo "$$p $$t"; $(GO) test ./$$p -run '^$$' -fuzz "^$$t\$$" -fuzztime 30s || exit 1; done; done

demo: build server ## the main job on real servers, told while it happens
	@$(GO) build -o build/demo ./test/demo && MMM_BIN=$(BIN) build/demo

bench: build server ## the figures of the README, measured here
	@$(GO) build -o build/bench ./test/bench && MMM_BIN=$(BIN) build/bench -json build/bench.json

packages: ## RPM, source RPM and DEB of the last commit for amd64 and arm64, in build/packages (needs git and rpmbuild)
	@command -v rpmbuild xz >/dev/null || { echo "installing rpm and xz-utils with apt-get"; apt-get -qq update && apt-get -qq -y install --no-install-recommends rpm xz-utils >/dev/null; }
	@rm -rf build/packages
	packaging/build build/packages
	@cd build/packages && wc -c *

PACKAGE_TOOLS := rpm xz-utils dnf createrepo-c busybox-static lintian rpmlint shellcheck mandoc debootstrap systemd-container bash-completion zsh fish cpio
test-packages: packages ## the packages on systems that boot (root, Debian, a mirror of it; some minutes; installs its tools)
	@dpkg -s $(PACKAGE_TOOLS) >/dev/null 2>&1 || { echo "installing $(PACKAGE_TOOLS) with apt-get"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $(PACKAGE_TOOLS) >/dev/null; }
	packaging/test/run build

clean:
	rm -rf build
