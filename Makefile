# Everything a developer calls. `make help` lists it.
PRESET ?= release
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
BUILD  := build/$(PRESET)
BIN    := $(BUILD)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help deps build run test sanitize sanitize-threads check fmt fmt-check lint bench soak clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo "  PRESET=dev|release|asan|tsan chooses the build (now: $(PRESET)); ARGS=… is passed on by run and bench"

deps: ## install the Debian packages that are missing
	@tools/install_deps.sh $(PRESET)

$(BUILD)/build.ninja: CMakePresets.json
	cmake --preset $(PRESET)

build: deps $(BUILD)/build.ninja ## build everything: build/release/bin/nizhal, build/release/lib/lib*_domain.so
	@cmake --build $(BUILD) -j $(JOBS)

# Without the tests: whoever only wants to see it run need not wait for them to be built.
run: deps $(BUILD)/build.ninja ## the demo: a server and two devices of the ledger example, step by step (ARGS=--once ends by itself)
	@cmake --build $(BUILD) -j $(JOBS) --target nizhal notes_domain ledger_domain
	@$(BIN)/nizhal demo $(ARGS)

test: build ## build and run all tests
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

# What reads bytes from outside, and what the simulator drives: all but sockets and PostgreSQL, of which a sanitized build
# takes very long. Some of the simulator's runs are enough: each goes through client, server and storage.
SANITIZED := base_test domain_test query_test sqlite_test protocol_test crdt_test client_test server_test
sanitize: ## the same under AddressSanitizer and UBSan, as far as it is quick: decoders, device, server core, simulator
	@tools/install_deps.sh asan
	@cmake --preset asan >/dev/null
	@cmake --build build/asan -j $(JOBS) --target $(SANITIZED) sim_test
	@for name in $(SANITIZED); do echo $$name; build/asan/bin/$$name --gtest_brief=1 || exit 1; done
	@build/asan/bin/sim_test --gtest_filter='Simulation.HoldsWhateverFails:Simulation.People*:Numbers.AreNever*'

THREADED := realtime_test presence_test tail_test server_test net_test
sanitize-threads: ## under ThreadSanitizer: the tests in which threads meet
	@tools/install_deps.sh tsan
	@cmake --preset tsan >/dev/null
	@cmake --build build/tsan -j $(JOBS) --target $(THREADED)
	@for name in $(THREADED); do echo $$name; build/tsan/bin/$$name --gtest_brief=1 || exit 1; done

check: fmt-check test ## what must pass before a commit: format, build, all tests

fmt: ## format the sources in place
	@tools/install_deps.sh tools
	@git ls-files '*.cpp' '*.hpp' | xargs clang-format -i

fmt-check:
	@tools/install_deps.sh tools
	@git ls-files '*.cpp' '*.hpp' | xargs clang-format --dry-run --Werror

lint: deps $(BUILD)/build.ninja ## clang-tidy over the sources
	@tools/install_deps.sh tools
	@git ls-files 'src/*.cpp' | xargs -P $(JOBS) -n 4 clang-tidy -p $(BUILD) --quiet

# Like `run`, without the tests. A server of its own, so that nothing else writes to it; NIZHAL_DB names another one.
bench: deps $(BUILD)/build.ninja ## the benchmarks, each with its limit beside it (ARGS="push --rounds 3", ARGS=--json)
	@cmake --build $(BUILD) -j $(JOBS) --target nizhal
	@if [ -n "$$NIZHAL_DB" ]; then $(BIN)/nizhal bench $(ARGS); else tools/with_postgres.sh $(BIN)/nizhal bench $(ARGS); fi

# A seed of the day unless SEED names one; what fails prints how to do it again.
MINUTES ?= 30
SEED    ?= $(shell date +%Y%m%d0000)
soak: deps $(BUILD)/build.ninja ## hunt with the simulator for MINUTES=30 on the three examples in turn (SEED=… begins there)
	@cmake --build $(BUILD) -j $(JOBS) --target nizhal notes_domain ledger_domain docs_domain
	@for name in ledger notes docs; do \
	  $(BIN)/nizhal sim --domain $(BUILD)/lib/lib$${name}_domain.so --seed $(SEED) \
	    --minutes $$(awk 'BEGIN { print $(MINUTES) / 3 }') || exit $$?; \
	done

clean: ## remove all builds
	rm -rf build
