# make            builds build/heddle            make run        the demo on http://127.0.0.1:8080 (PORT=)
# make test       installs what is missing, runs every test      make bench      compares with the rivals
# make asan tsan  the tests under the sanitizers make lint       what the compiler does not say
# make docs       CONFIGURATION.md, METRICS.md   make test-compose  the docker-compose stack

MODE    ?= release
VERSION := 0.1.0
BUILD   := build/$(MODE)

CC      := gcc
WARN    := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wcast-qual -Wwrite-strings -Wvla -Wundef -Werror
CFLAGS_release := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
CFLAGS_asan  := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_tsan  := -O1 -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
CFLAGS  := -std=gnu17 -g -pthread -D_GNU_SOURCE -DHEDDLE_VERSION='"$(VERSION)"' -Iapp $(WARN) $(CFLAGS_$(MODE)) \
           $(EXTRA_CFLAGS)
LDFLAGS := -pthread $(LDFLAGS_$(MODE))
LDLIBS  := -lfcgi -lcurl -ljansson -lfyaml -lm

MODULES   := base config metrics front fetch gather tasks api
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

.PHONY: all run test unit e2e asan tsan lint bench docs test-compose clean deps programs unit-programs

all: deps
	@$(MAKE) --no-print-directory programs

# The programs are where people look for them; other modes stay in their folder.
programs: $(BUILD)/heddle $(BUILD)/mock-upstream
ifeq ($(MODE),release)
	@ln -sf release/heddle build/heddle
	@ln -sf release/mock-upstream build/mock-upstream
endif

deps:
	@scripts/deps.sh build

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

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call SAY,CC)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

clean:
	rm -rf build run
