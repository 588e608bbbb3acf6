# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the scripts beside this folder: where the tree is, and one way to say things.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export top
script_name=$(basename "$0")

say() { printf '%s\n' "$*"; }

# die WHAT IS WRONG: WHAT TO DO
die() {
    printf '%s: %s\n' "$script_name" "$*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" -eq 0 ] || die "needs root for network namespaces and BPF: run it with sudo"
}

# Debian's own Python: another one on the PATH does not know python3-paho-mqtt.
python=/usr/bin/python3
export python
