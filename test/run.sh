#!/bin/sh
# Installs what is missing, builds everything in build/ (or $BUILD) and runs all tests. Arguments go
# to ctest: sh test/run.sh -R check_loop
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/cmake/setup.sh"

setup_packages g++ binutils check curl netcat-openbsd python3 inetutils-telnet redis-tools swaks wrk \
    chromium
setup_configure -DASYNCORE_BUILD_TESTING=ON -DASYNCORE_BUILD_DEMOS=ON
setup_build all
exec ctest --test-dir "$build" --no-tests=error --output-on-failure --parallel "$(nproc)" "$@"
