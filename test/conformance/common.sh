#!/bin/sh
# shellcheck disable=SC2034 # variables that the scripts use
# Sourced by the scripts here.

# find_python: sets $python to a Python that has asyncore: $PYTHON, or else the first that is found.
find_python()
{
    if [ -n "${PYTHON-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.11 /usr/bin/python3
    fi
    for python; do
        # The path of the interpreter itself: a wrapper of that name may be slow.
        python=$("$python" -W ignore -c 'import asyncore, sys
assert sys.version_info >= (3, 9)
print(sys.executable)' 2>/dev/null) && return 0
    done
    echo "$0: no Python with asyncore (3.9 to 3.11) among: $* (set PYTHON)" >&2
    return 1
}
