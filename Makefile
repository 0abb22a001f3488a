# Muster. `make help` tells the targets; nothing is written outside build/ and the cache
# (${MUSTER_CACHE:-~/.cache/muster}: toolchain and downloads).

define HELP
make                 init, dataspace, netlink and muster, static, into build/bin/
make run             builds and boots the virtual machine; a root shell if stdin is a terminal
make test            every test; the last line is "N passed, N failed"
make unit            the unit tests alone
make bench           every measurement; one alone: bench-boot bench-dataspace bench-services
                     bench-packages
make fuzz TIME=60    every fuzzer for that many seconds
make installer       build/installer/initrd.img, which puts a system onto a disk
make image           a disk that boots by itself, build/muster.img, of what IMAGE=FILE says
                     (initrd/muster.image)
make packages        Alpine packages of all this and a signed repository, build/packages/
make man             man pages into build/man/
make install         into DESTDIR, which is / if not given
make format          formats the C++ source
make clean           removes build/
endef

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
NEEDS := init/toolchain/needs
TIME ?= 60

# --- targets that make other targets (they may first have to install what those need) ----------

BENCHES := dataspace services packages boot
FRONT := run test bench $(BENCHES:%=bench-%) fuzz packages image installer man format clean help
.PHONY: all unit initrd install repository disk medium $(FRONT)

# As many jobs as processors, unless told otherwise; makes that are called share them.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

run:
	@$(NEEDS) install build vm
	@$(MAKE) initrd
	@exec test-vm/boot $(BOOT)

test:
	@env -u MAKEFLAGS -u MAKELEVEL .ci/test

bench: # one after the other
	@for bench in $(BENCHES:%=bench-%); do $(MAKE) $$bench || exit; done

$(BENCHES:%=bench-%):
	@$(NEEDS) install build vm
	@$(MAKE) initrd programs-of-$@ >&2
	@.ci/bench $(@:bench-%=%)

fuzz:
	@$(NEEDS) install build vm test fuzz
	@$(MAKE) fuzzers
	@.ci/fuzz $(TIME)

packages:
	@$(NEEDS) install build vm
	@$(MAKE) repository

installer:
	@$(NEEDS) install build vm image
	@$(MAKE) medium

image:
	@$(NEEDS) install build vm image
	@$(MAKE) disk

man:
	@$(NEEDS) install man
	@$(MAKE) man-pages

format:
	@$(NEEDS) install format
	@git ls-files -z '*.cpp' '*.h' | xargs -0 clang-format -i

clean:
	rm -rf build

help: ; $(info $(HELP)) @:

ifneq ($(filter-out $(FRONT),$(or $(MAKECMDGOALS),all)),)

# --- what there is ----------------------------------------------------------------------------

# Every .cpp in a room belongs to the library, except those whose names say otherwise.
OTHERS := %_main.cpp %_test.cpp %_bench.cpp %_fuzz.cpp
ROOMS := $(wildcard init/ init/*/ init/*/*/ services/ services/*/ netlink/ netlink/*/)
HOST_ROOMS := $(wildcard alpine-packages/ alpine-packages/*/ initrd/)
in = $(wildcard $(addsuffix $2,$1))
LIBRARY := $(filter-out $(OTHERS),$(call in,$(ROOMS),*.cpp))
HOST_LIBRARY := $(filter-out $(OTHERS),$(call in,$(HOST_ROOMS) init/base/,*.cpp))
TESTS := $(call in,$(ROOMS) $(HOST_ROOMS),*_test.cpp)
FUZZERS := $(call in,$(ROOMS) $(HOST_ROOMS),*_fuzz.cpp)
TARGET_BENCHES := $(call in,$(ROOMS),*_bench.cpp)
HOST_BENCHES := $(call in,$(HOST_ROOMS),*_bench.cpp)
HOST_TOOLS := $(call in,$(HOST_ROOMS),*_main.cpp)

PROGRAMS := init dataspace netlink muster

# An archive must lose the members whose source is gone, so it depends on this list.
$(shell mkdir -p build && { echo "$(sort $(LIBRARY) $(HOST_LIBRARY))" >build/sources.new.$$$$ && \
    if cmp -s build/sources.new.$$$$ build/sources; then rm build/sources.new.$$$$; \
    else mv build/sources.new.$$$$ build/sources; fi; })

# --- compilers --------------------------------------------------------------------------------

# TOOLCHAIN and HOSTCXX. Made again when the recipe changes or the toolchain is gone.
include build/toolchain.mk
build/toolchain.mk: $(filter-out init/toolchain/%.md,$(wildcard init/toolchain/*))
	@folder=$$(init/toolchain/prepare) && cxx=$$($(NEEDS) host-compiler) && \
	    printf 'TOOLCHAIN := %s\nHOSTCXX := %s\n$@: %s/bin/musl-c++\n%s/bin/musl-c++:\n' \
	    "$$folder" "$$cxx" "$$folder" "$$folder" >$@.new && mv $@.new $@
build/compilers: build/toolchain.mk # changes only if they do; all objects depend on it
	@cmp -s $< $@ || cp $< $@

WARNINGS := -Wall -Wextra -Werror
COMMON := -std=c++20 $(WARNINGS) -I. -MMD -MP
TARGET_FLAGS := -fno-exceptions -fno-rtti -ffunction-sections -fdata-sections \
    -fno-asynchronous-unwind-tables -flto
# Small, but for what every message passes through.
OPTIMISE := -Os
FAST := preserves/value preserves/packed dataspace/actor dataspace/engine dataspace/dataspace \
    dataspace/index dataspace/selector dataspace/pattern protocol/membrane protocol/packet \
    protocol/packet_writer protocol/relay_input protocol/relay_output protocol/send_queue
$(FAST:%=build/target/init/%.o): OPTIMISE := -O2
TEST_FLAGS = -O0 -g1 $(SANITIZERS)
CATCH := build/host/catch.h
# vptr looks at memory through a pipe: where tests have left no descriptor it fails by itself.
SANITIZERS := -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined
# Functions with the same code become one, where gold is there to see to it (they are smaller by a
# twelfth): no code here compares addresses of functions.
# Optimised once more as a whole when linked (smaller by a fourteenth), in one piece so that the same
# source gives the same program.
COMMA := ,
GOLD := $(if $(shell command -v ld.gold),-fuse-ld=gold -Wl$(COMMA)--icf=all)
LINK_TARGET = $(TOOLCHAIN)/bin/musl-c++ -s -Os -flto -flto-partition=one $(GOLD) \
    -Wl,--gc-sections -Wl,--build-id=none
HOST_LIBS := -lmnl -ldeflate -lcrypto

# A flavour is a way to compile: $(call flavour,NAME,COMPILER AND FLAGS,NEEDS) gives the rule for
# build/NAME/x.o from x.cpp.
define flavour
build/$1/%.o: %.cpp build/compilers $3
	@mkdir -p $$(@D)
	@echo "$1  $$<"
	@$2 $(COMMON) -c $$< -o $$@
endef
objects = $(patsubst %.cpp,build/$1/%.o,$2)

$(eval $(call flavour,target,$(TOOLCHAIN)/bin/musl-c++ $$(OPTIMISE) $(TARGET_FLAGS)))
$(eval $(call flavour,host/tool,$(HOSTCXX) -O2))
$(eval $(call flavour,host/unit,$(HOSTCXX) -O1 -g1 $(SANITIZERS)))
# The tests themselves, where Catch2's macros take most of the time: optimised, four times of it.
$(eval $(call flavour,host/test,$(HOSTCXX) $(TEST_FLAGS) -include $(CATCH),$(CATCH).gch))
$(eval $(call flavour,fuzz,clang++ -O1 -g $(SANITIZERS) -fsanitize=fuzzer-no-link))

# What is optimised when linked can be read by ar with the compiler's plugin.
define archive
	@rm -f $@
	@ar rcs $1 $@ $(filter %.o,$^)
endef
LTO_PLUGIN = --plugin $(shell $(TOOLCHAIN)/bin/musl-c++ -print-file-name=liblto_plugin.so)

# --- the programs -----------------------------------------------------------------------------

all: $(PROGRAMS:%=build/bin/%)

build/target/muster.a: $(call objects,target,$(LIBRARY)) build/sources
	$(call archive,$(LTO_PLUGIN))

define program
build/bin/$1: $(call objects,target,$2/$1_main.cpp) build/target/muster.a
	@mkdir -p $$(@D)
	@echo "link  $$@"
	@$$(LINK_TARGET) $$(filter %.o %.a,$$^) $3 -o $$@
endef
$(eval $(call program,init,init))
$(eval $(call program,dataspace,init))
$(eval $(call program,netlink,netlink,-lmnl))
$(eval $(call program,muster,services))

PAGES := $(wildcard *.scd */*.scd */*/*.scd)

# --- the host's side --------------------------------------------------------------------------

.PHONY: host-tools fuzzers replays man-pages $(BENCHES:%=programs-of-bench-%)

initrd: all host-tools
	@initrd/build

repository: all man-pages build/host/apk_build
	@alpine-packages/build-packages

medium: initrd repository
	@initrd/installer/build

disk: initrd repository
	@initrd/image $(IMAGE)

# --- installing ---------------------------------------------------------------------------------

# What a system other than our own initrd needs; nothing has the name of another program's file.
DESTDIR ?=
LIBEXEC := $(DESTDIR)/usr/libexec/muster
DATA := $(DESTDIR)/usr/lib/muster
BASE := $(filter-out %.md %.sh %.cpp,$(wildcard services/base/*))
install: all man-pages
	@install -D -m 755 -t $(LIBEXEC) build/bin/init build/bin/dataspace build/bin/netlink
	@install -D -m 755 -t $(DESTDIR)/usr/bin build/bin/muster
	@install -D -m 644 -t $(DATA) $(filter-out %_test.sh,$(wildcard services/lib/*.sh))
	@install -D -m 755 -t $(DATA)/base $(BASE)
	@for layer in boot core services; do \
	    install -D -m 644 -t $(DESTDIR)/etc/muster/$$layer $$(ls services/etc/muster/$$layer/*.pr | \
	        grep -v /demo.pr) || exit; done
	@for page in $(PAGES:.scd=); do page=$${page##*/}; \
	    install -D -m 644 build/man/$$page \
	        $(DESTDIR)/usr/share/man/man$${page##*.}/$$page || exit; done

name_of = $(notdir $(1:$2.cpp=))

host-tools: $(foreach m,$(HOST_TOOLS),build/host/$(call name_of,$m,_main))

build/host/tool/muster.a: $(call objects,host/tool,$(HOST_LIBRARY)) build/sources
	$(archive)

define host_program
build/host/$1: $(call objects,host/tool,$2) build/host/tool/muster.a
	@mkdir -p $$(@D)
	@echo "link  $$@"
	@$$(HOSTCXX) $$(filter %.o %.a,$$^) -ldeflate -lcrypto -o $$@
endef
$(foreach m,$(HOST_TOOLS),$(eval $(call host_program,$(call name_of,$m,_main),$m)))
$(foreach b,$(HOST_BENCHES),$(eval $(call host_program,bench/$(call name_of,$b,_bench),$b)))

unit: build/host/unit-tests
	@$<

build/host/unit/muster.a: $(call objects,host/unit,$(sort $(LIBRARY) $(HOST_LIBRARY))) build/sources
	$(archive)

# Catch2 itself takes minutes with sanitizers and optimisation, and gains nothing by them.
build/host/catch_main.o: init/base/catch_main.cpp build/compilers
	@mkdir -p $(@D)
	@echo "host  $<"
	@$(HOSTCXX) -O0 -std=c++20 -w -I. -MMD -MP -c $< -o $@

$(CATCH).gch: init/base/catch.h build/compilers
	@mkdir -p $(@D)
	@echo "host  $<"
	@echo '#include "$<"' >$(CATCH)
	@$(HOSTCXX) $(TEST_FLAGS) -std=c++20 $(WARNINGS) -I. -x c++-header $(CATCH) -o $@

build/host/unit-tests: build/host/catch_main.o $(call objects,host/test,$(TESTS)) \
    build/host/unit/muster.a
	@echo "link  $@"
	@$(HOSTCXX) $(SANITIZERS) $(filter %.o %.a,$^) $(CATCH_LIBS) $(HOST_LIBS) -o $@
CATCH_LIBS = $(if $(wildcard /usr/include/catch2/catch_session.hpp),-lCatch2)

# --- fuzzers and measurements -----------------------------------------------------------------

fuzzers: $(foreach f,$(FUZZERS),build/fuzz/$(call name_of,$f,_fuzz))

# Only of what has fuzzers: clang takes long.
FUZZED := $(filter-out services/% initrd/%,$(sort $(LIBRARY) $(HOST_LIBRARY)))
build/fuzz/muster.a: $(call objects,fuzz,$(FUZZED)) build/sources
	$(archive)

define fuzzer
build/fuzz/$1: $(call objects,fuzz,$2) build/fuzz/muster.a
	@echo "link  $$@"
	@clang++ $$(SANITIZERS) -fsanitize=fuzzer $$(filter %.o %.a,$$^) $$(HOST_LIBS) -o $$@
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzzer,$(call name_of,$f,_fuzz),$f)))

# The same without libFuzzer, for `make test`: .ci/fuzz --replay runs them.
replays: $(foreach f,$(FUZZERS),build/host/replay/$(call name_of,$f,_fuzz))
define replay
build/host/replay/$1: $(call objects,host/unit,$2 init/base/replay_main.cpp) build/host/unit/muster.a
	@mkdir -p $$(@D)
	@echo "link  $$@"
	@$$(HOSTCXX) $$(SANITIZERS) $$(filter %.o %.a,$$^) $$(HOST_LIBS) -o $$@
endef
$(foreach f,$(FUZZERS),$(eval $(call replay,$(call name_of,$f,_fuzz),$f)))

# x_bench.cpp measures in the flavour that is shipped; .ci/bench runs those of the same rooms.
define bench
build/bench/$1: $(call objects,target,$2) build/target/muster.a
	@mkdir -p $$(@D)
	@echo "link  $$@"
	@$$(LINK_TARGET) $$(filter %.o %.a,$$^) -lmnl -o $$@
endef
$(foreach b,$(TARGET_BENCHES),$(eval $(call bench,$(call name_of,$b,_bench),$b)))
benches = $(foreach b,$(filter $1,$(TARGET_BENCHES)),build/bench/$(call name_of,$b,_bench))
programs-of-bench-dataspace: $(call benches,init/%)
programs-of-bench-services: $(call benches,services/% netlink/%)
programs-of-bench-packages: $(foreach b,$(HOST_BENCHES),build/host/bench/$(call name_of,$b,_bench))
programs-of-bench-boot:

# --- man pages --------------------------------------------------------------------------------

man-pages: $(foreach p,$(PAGES),build/man/$(notdir $(p:.scd=)))
define page
build/man/$(notdir $(1:.scd=)): $1
	@mkdir -p $$(@D)
	@scdoc <$$< >$$@
endef
$(foreach p,$(PAGES),$(eval $(call page,$p)))

-include $(shell find build -name '*.d' 2>/dev/null)
endif
