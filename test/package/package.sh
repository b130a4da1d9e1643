#!/bin/sh
# sh package.sh CASE SOURCE WORK: installs the project below WORK and consumes it in the ways that
# users do. install comes first; every other case works in WORK/CASE.
set -eu
case=$1
source=$2
work=$3
here=$source/test/package
prefix=$work/prefix
out=$work/$case
: "${CC:=cc}" "${CXX:=c++}" "${CMAKE:=cmake}" "${VERSION:?}"
soname=libasyncore.so.${VERSION%.*}
# What the caller's environment may have for a build of its own.
unset CFLAGS CXXFLAGS CPPFLAGS LDFLAGS DESTDIR LD_LIBRARY_PATH
export LC_ALL=C

fail()
{
    echo "$case: $*" >&2
    exit 1
}

# --- steps -----------------------------------------------------------------------------------

configure_library() # BUILD OPTION...
{
    build=$1
    shift
    # The prefix that counts is the one that is given to cmake --install.
    "$CMAKE" -S "$source" -B "$build" -DCMAKE_C_COMPILER="$CC" -DASYNCORE_BUILD_TESTING=OFF \
        -DASYNCORE_BUILD_DEMOS=OFF -DCMAKE_INSTALL_PREFIX=/nonexistent/asyncore "$@"
    "$CMAKE" --build "$build"
}

configure() # PROJECT OPTION...: into $out/build
{
    project=$1
    shift
    CXX=$CXX "$CMAKE" -S "$here/$project" -B "$out/build" -DCMAKE_C_COMPILER="$CC" \
        -DCMAKE_PREFIX_PATH="$prefix" "$@"
}

build()
{
    configure "$@"
    "$CMAKE" --build "$out/build" --verbose
}

expect_echo() # PROGRAM
{
    output=$("$1") || fail "$1 failed with status $?"
    case $output in
    *'echo: hello, package'*) echo "$output" ;;
    *) fail "$1 printed \"$output\"" ;;
    esac
}

needed() # PROGRAM: the libraries that it is linked with
{
    readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

expect_shared() # PROGRAM
{
    expect_echo "$1"
    needed "$1" | grep -qxF "$soname" || fail "$1 does not need $soname"
}

expect_static() # PROGRAM
{
    expect_echo "$1"
    ! needed "$1" | grep asyncore || fail "$1 is linked with the shared library"
}

pkg_config() # ARGUMENT...: checks first that it succeeds
{
    PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    export PKG_CONFIG_PATH
    pkg-config --exists --print-errors asyncore
    pkg-config "$@" asyncore
}

# --- the installation ------------------------------------------------------------------------

case_install()
{
    rm -rf "$work/build" "$prefix"
    configure_library "$work/build" -DCMAKE_INSTALL_LIBDIR=lib
    "$CMAKE" --install "$work/build" --prefix "$prefix"
    [ -L "$prefix/lib/$soname" ] || fail "no link $soname"
    [ -f "$prefix/lib/libasyncore.so.$VERSION" ] || fail "no libasyncore.so.$VERSION"
    ! grep -r /nonexistent "$prefix/lib/cmake" "$prefix/lib/pkgconfig" ||
        fail 'the configured prefix is in what is installed'
}

# --- find_package ----------------------------------------------------------------------------

case_shared()
{
    build consumer
    expect_shared "$out/build/echo"
}

case_static()
{
    build consumer -DCOMPONENTS=static
    expect_static "$out/build/echo"
}

case_static_among_both()
{
    build consumer -DCOMPONENTS='shared;static' -DTARGET=asyncore::static
    expect_static "$out/build/echo"
}

case_build_shared_libs_off()
{
    build consumer -DBUILD_SHARED_LIBS=OFF
    expect_static "$out/build/echo"
}

case_fully_static()
{
    build consumer -DCOMPONENTS=static -DASYNCORE_USE_STATIC_LIBEVENT=ON \
        -DCMAKE_EXE_LINKER_FLAGS=-static
    expect_static "$out/build/echo"
    [ -z "$(needed "$out/build/echo")" ] || fail 'it is linked with shared libraries'
}

case_only_static()
{
    configure_library "$out/library" -DASYNCORE_BUILD_SHARED=OFF -DCMAKE_INSTALL_LIBDIR=lib
    "$CMAKE" --install "$out/library" --prefix "$out/prefix"
    prefix=$out/prefix
    build consumer
    expect_static "$out/build/echo"
    # shellcheck disable=SC2046 # flags
    "$CC" -o "$out/echo" "$here/echo.c" $(pkg_config --cflags --libs)
    expect_static "$out/echo"
}

case_only_shared()
{
    configure_library "$out/library" -DASYNCORE_BUILD_STATIC=OFF -DCMAKE_INSTALL_LIBDIR=lib
    "$CMAKE" --install "$out/library" --prefix "$out/prefix"
    prefix=$out/prefix
    build consumer -DBUILD_SHARED_LIBS=OFF
    expect_shared "$out/build/echo"
    rm -r "$out/build"
    ! configure consumer -DCOMPONENTS=static >"$out/log" 2>&1 ||
        fail 'the component static was found'
    grep -F 'no component static' "$out/log" || fail "$(cat "$out/log")"
}

case_twice()
{
    build twice
    expect_shared "$out/build/echo"
    expect_static "$out/build/echo_static"
}

case_libevent_before()
{
    build libevent -DORDER=before
    expect_static "$out/build/echo"
    "$out/build/host" | grep -x 'host: one base'
}

case_libevent_after()
{
    build libevent -DORDER=after
    expect_static "$out/build/echo"
    "$out/build/host" | grep -x 'host: one base'
}

case_moved()
{
    mkdir "$out"
    cp -a "$prefix" "$out/elsewhere"
    old=$prefix
    prefix=$out/elsewhere
    build consumer
    expect_shared "$out/build/echo"
    # shellcheck disable=SC2046 # flags
    "$CC" -o "$out/echo" "$here/echo.c" $(pkg_config --cflags --libs) -Wl,-rpath,"$prefix/lib"
    expect_shared "$out/echo"
    ! grep -rF "$old/" "$prefix" "$out/build/CMakeCache.txt" || fail 'the old place is still named'
    ! pkg_config --cflags --libs | grep -F "$old/" || fail 'pkg-config names the old place'
}

case_cxx()
{
    build cxx
    expect_shared "$out/build/echo"
}

case_no_pie()
{
    build consumer -DCMAKE_C_FLAGS=-fno-pie -DCMAKE_EXE_LINKER_FLAGS=-no-pie
    expect_shared "$out/build/echo"
    readelf -h "$out/build/echo" | grep -q 'Type:.*EXEC' || fail 'the program is PIE'
    ! readelf -rW "$out/build/echo" | grep '_COPY .*asyn' ||
        fail 'a table of the library is copied into the program'
}

case_no_libevent_headers()
{
    mkdir -p "$out/poison/event2"
    for header in event.h evutil.h event2/event.h event2/event-config.h event2/event_struct.h \
        event2/buffer.h event2/util.h event2/visibility.h; do
        echo '#error "a header of libevent"' >"$out/poison/$header"
    done
    ! echo '#include <event2/util.h>' | "$CC" -I"$out/poison" -fsyntax-only -x c - 2>/dev/null ||
        fail 'the headers can still be used'
    build consumer -DCMAKE_C_FLAGS="-I$out/poison"
    expect_shared "$out/build/echo"
    ! grep -i '^[^:]*libevent' "$out/build/CMakeCache.txt" || fail 'libevent was looked for'
}

case_other_version()
{
    configure consumer -DVERSION="$VERSION"
    for version in 0.0 0.2 1.0; do
        rm -r "$out/build"
        ! configure consumer -DVERSION=$version >"$out/log" 2>&1 ||
            fail "$version was accepted"
        grep -F "requested version \"$version\"" "$out/log" || fail "$(cat "$out/log")"
    done
}

# --- as a part of the project ----------------------------------------------------------------

expect_no_leak() # after build subdirectory
{
    "$CMAKE" --install "$out/build" --prefix "$out/prefix"
    files=$(cd "$out/prefix" && find . -type f)
    [ "$files" = ./bin/echo ] || fail "installed is also: $files"
    tests=$(ctest --test-dir "$out/build" -N | sed -n 's/^ *Test *#[0-9]*: //p')
    [ "$tests" = parents_own ] || fail "there are tests: $tests"
}

case_subdirectory()
{
    build subdirectory -DASYNCORE_SOURCE_DIR="$source"
    expect_shared "$out/build/echo"
    expect_static "$out/build/echo_static"
    expect_no_leak
}

case_subdirectory_static()
{
    build subdirectory -DASYNCORE_SOURCE_DIR="$source" -DASYNCORE_BUILD_SHARED=OFF
    expect_static "$out/build/echo"
    expect_static "$out/build/echo_static"
    expect_no_leak
}

# --- pkg-config ------------------------------------------------------------------------------

case_pkg_config_shared()
{
    mkdir "$out"
    # shellcheck disable=SC2046 # flags
    "$CC" -o "$out/echo" "$here/echo.c" $(pkg_config --cflags --libs)
    LD_LIBRARY_PATH=$prefix/lib
    export LD_LIBRARY_PATH
    expect_shared "$out/echo"
    [ "$(pkg_config --modversion)" = "$VERSION" ] || fail 'another version'
}

case_pkg_config_static()
{
    mkdir "$out"
    # shellcheck disable=SC2046 # flags
    "$CC" -static -o "$out/echo" "$here/echo.c" $(pkg_config --static --cflags --libs)
    expect_static "$out/echo"
    [ -z "$(needed "$out/echo")" ] || fail 'it is linked with shared libraries'
}

case_pkg_config_cxx()
{
    mkdir "$out"
    # shellcheck disable=SC2046 # flags
    "$CXX" -o "$out/echo" "$here/cxx/echo.cpp" $(pkg_config --cflags --libs)
    LD_LIBRARY_PATH=$prefix/lib
    export LD_LIBRARY_PATH
    expect_shared "$out/echo"
}

# --- what is in it ---------------------------------------------------------------------------

case_headers()
{
    mkdir "$out"
    headers=$(cd "$prefix/include" && find asyncore -name '*.h')
    [ "$(echo "$headers" | wc -l)" -ge 10 ] || fail "only these headers: $headers"
    flags='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wcast-qual -Wundef'
    for header in $headers; do
        printf '#include <%s>\nextern int not_empty;\n' "$header" >"$out/alone.c"
        # shellcheck disable=SC2086 # flags
        "$CC" -std=c11 $flags -Wshadow -Wstrict-prototypes -Werror -I"$prefix/include" -fsyntax-only \
            "$out/alone.c"
        # shellcheck disable=SC2086 # flags
        "$CXX" -std=c++11 $flags -Werror -I"$prefix/include" -fsyntax-only -x c++ "$out/alone.c"
    done
}

compiles() # MEMBERS: a class whose struct has these
{
    "$CC" -std=c11 -I"$prefix/include" -fsyntax-only -x c - <<END
#include <asyncore/asyncore.h>
struct echo { $1 };
ASYNCORE_CLASS(echo, asyncore_dispatcher_with_send, .interest = ASYNCORE_INTEREST_INHERIT);
END
}

case_misuse()
{
    compiles 'struct asyncore_dispatcher_with_send base; int n;'
    ! compiles 'int n; struct asyncore_dispatcher_with_send base;' || fail 'base need not be first'
    ! compiles 'struct asyncore_dispatcher base; int n;' || fail 'base may have any type'
    ! compiles 'struct asyncore_dispatcher_with_send *base;' || fail 'base may be a pointer'
}

declared() # the names that the headers declare with ASYNCORE_API
{
    echo '#include <asyncore/asyncore.h>' | "$CC" -E -P -I"$prefix/include" -x c - |
        tr '\n' ' ' | tr ';' '\n' |
        sed -n 's/.*__attribute__((visibility("default")))\([^(]*\).*/\1/p' |
        sed 's/ *$//; s/.*[ *]//'
}

exported() # what the shared library exports
{
    nm -D --defined-only "$prefix/lib/libasyncore.so" |
        awk '$2 != "A" { print $3 }'
}

# A program that uses them all links, shared and static.
case_symbols()
{
    mkdir "$out"
    declared >"$out/declared"
    [ "$(wc -l <"$out/declared")" -ge 80 ] || fail "too few: $(cat "$out/declared")"
    sed "s/\$/@@ASYNCORE_${VERSION%.*}/" "$out/declared" | sort >"$out/expected"
    exported | sort >"$out/exported"
    diff "$out/expected" "$out/exported" || fail 'the headers (<) and the library (>) differ'

    {
        sed 's/.*/extern char &[];/' "$out/declared"
        echo 'char *const symbols[] = {'
        sed 's/$/,/' "$out/declared"
        echo '0};'
        echo 'int main(void) { int i = 0; while (symbols[i]) i++; return i < 80; }'
    } >"$out/all.c"
    "$CC" -o "$out/all" "$out/all.c" -L"$prefix/lib" -lasyncore -Wl,-rpath,"$prefix/lib"
    "$out/all"
    "$CC" -o "$out/all_static" "$out/all.c" "$prefix/lib/libasyncore.a" -levent_core
    "$out/all_static"

    ! nm -D --undefined-only "$prefix/lib/libasyncore.so" | sed 's/@.*//' |
        grep -E ' (abort|exit|_exit|_Exit|raise|__assert_fail|signal|sigaction|exec.*)$' ||
        fail 'a library must not do this'
}

# README.md's first program, and its two ways to build it.
first_block() # LANGUAGE
{
    sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" "$source/README.md" | sed -n '2,$ { /^```/q; p; }'
}

case_readme()
{
    mkdir "$out"
    first_block c >"$out/echo.c"
    first_block cmake >"$out/CMakeLists.txt"
    "$CMAKE" -S "$out" -B "$out/build" -DCMAKE_C_COMPILER="$CC" -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_C_FLAGS='-Wall -Wextra -Werror'
    "$CMAKE" --build "$out/build"
    needed "$out/build/echo" | grep -qxF "$soname" || fail "it does not need $soname"
    # shellcheck disable=SC2046 # flags
    "$CC" "$out/echo.c" -o "$out/echo" $(pkg_config --cflags --libs)
}

# --- out again -------------------------------------------------------------------------------

case_uninstall()
{
    "$CMAKE" --install "$work/build" --prefix "$out/prefix"
    [ -f "$out/prefix/include/asyncore/asyncore.h" ] || fail 'nothing was installed'
    echo kept >"$out/prefix/include/kept.h"
    "$CMAKE" --build "$work/build" --target uninstall
    left=$(find "$out/prefix" ! -type d -o -name 'asyncore*')
    [ "$left" = "$out/prefix/include/kept.h" ] || fail "left: $left"
    ! "$CMAKE" --build "$work/build" --target uninstall || fail 'there was nothing to uninstall'
}

case_destdir()
{
    DESTDIR=$out/root "$CMAKE" --install "$work/build" --prefix /usr
    [ -f "$out/root/usr/include/asyncore/asyncore.h" ] || fail 'DESTDIR was not used'
    DESTDIR=$out/root "$CMAKE" --build "$work/build" --target uninstall
    left=$(find "$out/root" ! -type d)
    [ -z "$left" ] || fail "left: $left"
}

[ "$case" = install ] || rm -rf "$out"
"case_$case"
