# make            builds build/heddle            make run        the demo on http://127.0.0.1:8080 (PORT=)
# make test       installs what is missing, runs every test      make bench      compares with the rivals
# make asan tsan  the tests under the sanitizers make lint       what the compiler does not say
# make docs       CONFIGURATION.md, METRICS.md   make test-compose  the docker-compose stack
# make fuzz       the parsers, FUZZ_SECONDS each make torture    kill -9, N times, under load

MODE    ?= release
VERSION := 0.1.0
BUILD   := build/$(MODE)

CC      := gcc
WARN    := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wcast-qual -Wwrite-strings -Wvla -Wundef -Werror
CFLAGS_release := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
CFLAGS_asan  := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_tsan  := -O1 -fno-omit-frame-pointer -fsanitize=thread
CFLAGS_fuzz  := -O1 -fsanitize=fuzzer-no-link,address,undefined
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined
CFLAGS  := -std=gnu17 -g -pthread -D_GNU_SOURCE -DHEDDLE_VERSION='"$(VERSION)"' -Iapp $(WARN) $(CFLAGS_$(MODE)) \
           $(EXTRA_CFLAGS)
LDFLAGS := -pthread $(LDFLAGS_$(MODE))
# jemalloc takes a fifth off the CPU of a fetch with thousands in flight; the sanitizers bring their own allocator.
LDLIBS_release := -Wl,--no-as-needed -ljemalloc -Wl,--as-needed
LDLIBS  := -lfcgi -lcurl -ljansson -lfyaml -lsqlite3 -lssl -lcrypto -lm $(LDLIBS_$(MODE))

MODULES   := base config metrics front fetch upstream mail gather tasks api cli
APP_SRC   := $(wildcard app/*.c $(addprefix app/,$(addsuffix /*.c,$(MODULES))))
MOCK_SRC  := $(wildcard tests/mock/*.c)
UNIT_SRC  := $(wildcard tests/unit/test_*.c)
LIB_OBJ   := $(patsubst %.c,$(BUILD)/%.o,$(filter-out app/main.c,$(APP_SRC)))
UNIT_BIN  := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))
PYTEST    := /usr/bin/python3 -m pytest -p no:cacheprovider

# `make V=1` shows the commands.
ifneq ($(V),1)
SAY  = @echo "  $(1)	$@";
else
SAY  =
endif

.PHONY: all programs run test unit e2e asan tsan torture lint fuzz bench docs test-compose clean

all:
	@scripts/deps.sh build
	@$(MAKE) --no-print-directory programs

# The programs are where people look for them; other modes stay in their folder.
programs: $(BUILD)/heddle $(BUILD)/mock-upstream
ifeq ($(MODE),release)
	@ln -sf release/heddle build/heddle
	@ln -sf release/mock-upstream build/mock-upstream
endif

$(BUILD)/heddle: $(BUILD)/app/main.o $(BUILD)/libheddle.a
	$(call SAY,LD)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/libheddle.a: $(LIB_OBJ)
	@rm -f $@
	$(call SAY,AR)ar rcs $@ $^

$(BUILD)/mock-upstream: $(patsubst %.c,$(BUILD)/%.o,$(MOCK_SRC))
	$(call SAY,LD)$(CC) $(LDFLAGS) -o $@ $^ -lz

$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libheddle.a
	@mkdir -p $(@D)
	$(call SAY,LD)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

# With clang: scripts/fuzz.sh.
$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/libheddle.a
	$(call SAY,LD)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call SAY,CC)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

.SECONDARY: # keep the tests' objects

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# ---- running and testing; each installs what it needs ----

run:
	@scripts/deps.sh run
	@$(MAKE) --no-print-directory programs
	@scripts/run.sh

test:
	@scripts/deps.sh test
	@scripts/tally.sh $(MAKE) --no-print-directory -k unit e2e

unit: programs $(UNIT_BIN)
	@status=0; for test in $(UNIT_BIN); do \
	    echo "$$test"; MOCK_UPSTREAM=$(BUILD)/mock-upstream $$test 2>&1 || status=1; \
	done; exit $$status

# Real nginx, the mock upstream, faults: against the programs of this MODE.
e2e: programs
	@HEDDLE=$(BUILD)/heddle MOCK_UPSTREAM=$(BUILD)/mock-upstream MODE=$(MODE) $(PYTEST) -q tests

asan tsan:
	@scripts/deps.sh test
	@scripts/tally.sh $(MAKE) --no-print-directory -k unit e2e MODE=$@

asan: export ASAN_OPTIONS := detect_stack_use_after_return=1
asan: export UBSAN_OPTIONS := print_stacktrace=1
tsan: export TSAN_OPTIONS := second_deadlock_stack=1

# Kills heddle N times while tasks are submitted, and looks for what was lost.
N ?= 1000
torture: programs
	@TORTURE_CYCLES=$(N) HEDDLE=$(BUILD)/heddle $(PYTEST) -q tests/e2e/test_crash.py -k acknowledged

# The parsers, or those that FUZZ names, FUZZ_SECONDS each, from the corpus in the tree.
FUZZ_SECONDS ?= 60
fuzz:
	@scripts/deps.sh build lint
	@scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZ)

lint:
	@scripts/deps.sh lint
	@scripts/tally.sh scripts/lint.sh

bench:
	@scripts/deps.sh bench
	@$(MAKE) --no-print-directory programs
	@/usr/bin/python3 tests/bench/bench.py $(BENCH)

test-compose:
	@scripts/test-compose.sh

# The documents that the program writes about itself; a test compares them.
docs: programs
	build/heddle docs configuration > CONFIGURATION.md
	build/heddle docs metrics > METRICS.md

clean:
	rm -rf build run
