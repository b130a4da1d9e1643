# The stages of .ci/run: bash, run in the source directory with set -e. Each leaves its build in
# build-STAGE.
# shellcheck shell=bash
top=$PWD
. cmake/setup.sh

# Runs a command; shows what it printed only when it fails.
quietly()
{
    local log
    log=$(mktemp)
    "$@" >"$log" 2>&1 || { cat "$log"; rm "$log"; return 1; }
    rm "$log"
}

# configure_and_build NAME TARGET OPTION...: in build-NAME
configure_and_build()
{
    local dir=$build-$1 target=$2
    shift 2
    quietly cmake -S . -B "$dir" "$@"
    quietly cmake --build "$dir" --parallel "$(nproc)" --target "$target"
}

run_tests() # NAME ARGUMENT...: of ctest, in build-NAME
{
    local dir=$build-$1
    shift
    ctest --test-dir "$dir" --no-tests=error --output-on-failure --parallel "$(nproc)" "$@"
}

# The C sources below these directories; fails when there are none.
c_sources()
{
    find "$@" -name '*.c' | sort | grep .
}

stage_packages()
{
    setup_packages g++ binutils check curl netcat-openbsd python3 inetutils-telnet redis-tools swaks wrk \
        chromium clang clang-format clang-tidy cppcheck valgrind shellcheck pyflakes3
}

stage_tests()
{
    sh test/run.sh
}

stage_gcc()
{
    configure_and_build gcc all -DCMAKE_C_COMPILER=gcc -DASYNCORE_WERROR=ON
    configure_and_build gcc-debug all -DCMAKE_C_COMPILER=gcc -DASYNCORE_WERROR=ON \
        -DCMAKE_BUILD_TYPE=Debug
}

stage_clang()
{
    configure_and_build clang all -DCMAKE_C_COMPILER=clang -DASYNCORE_WERROR=ON
    run_tests clang -R '^package/(install|shared|no_pie|symbols|headers|misuse)$'
}

stage_sanitizers()
{
    configure_and_build sanitizers all -DASYNCORE_SANITIZE=address,undefined \
        -DASYNCORE_TEST_NO_FORK=ON -DCMAKE_C_COMPILER=gcc
    ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1 \
        UBSAN_OPTIONS=print_stacktrace=1 run_tests sanitizers -LE 'package|stress|oracle'
}

# The thread sanitizer knows no threads after a fork: check_fork has them.
stage_tsan()
{
    configure_and_build tsan all -DASYNCORE_SANITIZE=thread -DCMAKE_C_COMPILER=gcc
    run_tests tsan -R '^check_thread|^demo/echo_threads$'
}

stage_valgrind()
{
    local memcheck='valgrind;--quiet;--error-exitcode=99;--leak-check=full'
    memcheck+=';--errors-for-leak-kinds=definite,indirect,possible;--num-callers=30'
    configure_and_build valgrind all -DASYNCORE_TEST_NO_FORK=ON \
        -DASYNCORE_TEST_LAUNCHER="$memcheck"
    # valgrind does not enforce the limit on descriptors that the cases of that name set. Other kinds
    # of bases are left to the sanitizers: for each they are every test of their suites once more.
    run_tests valgrind -L 'check|conformance|fuzz' -LE 'stress|oracle' -E '/descriptors|/base_'
}

# A short look for what the corpus does not have, with one seed, so that what it finds comes from the
# change; test/fuzz/README.md has the long one.
stage_fuzz()
{
    configure_and_build fuzz fuzz_chat -DCMAKE_C_COMPILER=clang -DASYNCORE_FUZZ=ON \
        -DASYNCORE_SANITIZE=fuzzer-no-link,address,undefined
    local found
    found=$(mktemp -d)
    quietly "$build-fuzz/test/fuzz/fuzz_chat" -max_len=512 -runs=200000 -seed=1 \
        -artifact_prefix="$found/" "$found" test/fuzz/corpus/chat
    rm -r "$found"
}

stage_format()
{
    find include lib test demo -name '*.[ch]' -o -name '*.cpp' | sort | grep . |
        xargs clang-format --dry-run -Werror
}

stage_tidy()
{
    quietly cmake -S . -B "$build-tidy" -DCMAKE_C_COMPILER=clang -DASYNCORE_BUILD_SHARED=OFF \
        -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
    # The library is built twice, with and without asserts: once is enough.
    python3 - "$build-tidy/compile_commands.json" <<'END'
import json, sys
commands = {command["file"]: command for command in json.load(open(sys.argv[1]))}
json.dump(list(commands.values()), open(sys.argv[1], "w"), indent=1)
END
    c_sources lib demo test/*.c test/bench test/conformance test/fuzz | xargs -P "$(nproc)" -n 1 \
        clang-tidy --quiet --warnings-as-errors='*' -p "$build-tidy" 2>/dev/null
}

stage_cppcheck()
{
    # It reads no system headers; the one that is all macros has to be given to it.
    local queue
    queue=$(echo '#include <sys/queue.h>' | gcc -E -x c - | grep -om 1 '/.*/sys/queue\.h')
    c_sources lib demo test/*.c test/bench test/conformance test/fuzz |
        cppcheck --quiet --enable=warning,performance,portability --error-exitcode=1 --std=c11 \
            --library=posix,gnu,bsd --include="$queue" --suppressions-list=.ci/cppcheck-suppressions \
            --suppress=missingIncludeSystem -D_GNU_SOURCE -I include -I test -j "$(nproc)" \
            --file-list=-
}

# Leaks are left to the sanitizers and valgrind: gcc 12 takes an allocation of which only a pointer
# into it is kept, as of every channel, for lost.
stage_analyzer()
{
    configure_and_build analyzer all -DCMAKE_C_COMPILER=gcc -DASYNCORE_WERROR=ON \
        -DCMAKE_C_FLAGS='-fanalyzer -Wno-analyzer-malloc-leak' \
        -DASYNCORE_BUILD_TESTING=OFF -DASYNCORE_BUILD_SHARED=OFF
}

stage_scripts()
{
    shellcheck -x .ci/run .ci/stages.sh
    find test demo -name '*.sh' ! -name common.sh | sort | grep . |
        xargs shellcheck -x -s sh -P SCRIPTDIR -S warning
    find test demo -name '*.py' | sort | grep . | xargs pyflakes3
}
