#!/bin/sh
# Compares our library with CPython's asyncore. compare.py says how; compare.sh --help lists options.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

find_python
exec "$python" -B "$here/compare.py" "$@"
