# What the run scripts share; POSIX sh, to be sourced with $top set to the source directory.
# shellcheck shell=sh

build=${BUILD:-$top/build}

# setup_packages NAME...: installs what is missing of these Debian packages, and of those that every
# build needs, as root or through sudo; where neither is possible it prints the command and fails.
setup_packages()
{
    set -- gcc libc6-dev cmake make pkg-config libevent-dev "$@"
    if ! command -v dpkg-query >/dev/null; then
        echo "$0: this is no Debian system; needed are: $*" >&2
        return 0
    fi
    missing=
    for package; do
        # shellcheck disable=SC2016 # the ${...} is dpkg-query's
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
        *' installed') ;;
        *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0

    install="apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
--no-install-recommends$missing"
    if [ "$(id -u)" -eq 0 ]; then
        sh -c "$install"
    elif command -v sudo >/dev/null; then
        sudo sh -c "$install"
    else
        printf '%s: packages are missing; as root, run:\n\n    %s\n\n' "$0" "$install" >&2
        return 1
    fi
}

# setup_configure OPTION...: quiet when nothing is wrong.
setup_configure()
{
    mkdir -p "$build"
    cmake -S "$top" -B "$build" "$@" >"$build/configure.log" 2>&1 ||
        { cat "$build/configure.log" >&2; return 1; }
}

# setup_build TARGET: all builds everything.
setup_build()
{
    cmake --build "$build" --parallel "$(nproc)" --target "$1"
}
