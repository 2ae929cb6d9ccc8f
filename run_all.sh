#!/usr/bin/env bash
# Set everything up and do the main job; 'run_all.sh help' tells the rest.
set -euo pipefail
cd "$(dirname "$0")"

# Python's settings of the caller are for the caller's Python. (PYTHON names ours.)
for name in "${!PYTHON@}"; do
    [ "$name" = PYTHON ] || unset "$name"
done

usage() {
    cat <<'HELP'
Usage: ./run_all.sh [COMMAND]

  (nothing)      set up, then the main job: every variant configured on mnist5k by every
                 configurator, validated, analysed; ends with the report's path (about 15 minutes
                 on 2 cores). Interrupted, the same command goes on.
  --full [SET...]
                 set up, then every variant with every configurator and its scenario's full budget
                 (hours), on the set mnist5k, which needs no download, or
                 on those named, fetched first
  test [ARGS]    set up, then the tests; ARGS go to pytest
                 ('test -m ""' runs the slow ones too)
  setup          only set up: .venv with the locked packages, R with irace where possible
  help           this text

Environment:
  PYTHON                     the Python (3.11 or newer) to make .venv with
  SPARSE_ACLIB_TORCH_INDEX   address of a pip index with CPU builds of PyTorch (pytorch.org shows
                             its own when you choose "CPU"); without it pip's index decides, and
                             on Linux with an x86 processor that may be a CUDA build (some GB)
  SPARSE_ACLIB_DATA          where data sets are kept (default: the user's cache folder)
HELP
}

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
fail() { printf 'run_all.sh: %s\n' "$*" >&2; exit 1; }

# Runs a command as root: as we are, or through sudo if that asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo "$@"
    else return 1
    fi
}

debian_install() {
    command -v apt-get >/dev/null || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
            fail "PYTHON is $PYTHON, expected a Python 3.11 or newer"
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.13 python3; do  # the lock was tested on 3.11
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer found; install one or name it: PYTHON=/path/to/python3 ./run_all.sh"
}

make_environment() {
    local python
    python=$(find_python)
    say "Making .venv with $("$python" --version)"
    if ! "$python" -m venv .venv 2>/dev/null; then
        # Debian keeps venv in a package of its own.
        debian_install python3-venv ||
            fail "$python has no venv module; install it (Debian: apt-get install python3-venv)"
        "$python" -m venv --clear .venv
    fi
}

install_packages() {
    local pip=(.venv/bin/python -m pip --disable-pip-version-check -qq)
    say "Installing the locked packages into .venv (some minutes the first time)"
    if [ -n "${SPARSE_ACLIB_TORCH_INDEX:-}" ]; then
        "${pip[@]}" install --no-deps --index-url "$SPARSE_ACLIB_TORCH_INDEX" \
            "$(grep '^torch==' requirements.lock)"
    fi
    # The lock is complete, so nothing is resolved: what a CUDA build of PyTorch needs is not in it,
    # and comes below where the index has no other build. rpy2's ABI mode needs neither a compiler
    # nor R's headers.
    if ! RPY2_CFFI_MODE=ABI "${pip[@]}" install --no-deps -r requirements.lock; then
        say "The lock does not fit this Python or machine; installing what pyproject.toml allows"
        RPY2_CFFI_MODE=ABI "${pip[@]}" install -e '.[irace,openml,test]'
    fi
    if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
        say "This machine's index gave a CUDA build of PyTorch; installing what that needs, some GB." \
            "(200 MB are enough: set SPARSE_ACLIB_TORCH_INDEX, './run_all.sh help' says to what)"
        "${pip[@]}" install "$(grep '^torch==' requirements.lock)"
    fi
    "${pip[@]}" install --no-deps -e .
}

# The truly sparse engine is a C file, compiled for this machine when it is first used.
prepare_engines() {
    if ! command -v "${CC:-cc}" >/dev/null && ! command -v gcc >/dev/null &&
        ! command -v clang >/dev/null; then
        say "No C compiler found; installing the one of the ziglang package into .venv"
        .venv/bin/python -m pip --disable-pip-version-check -qq install 'ziglang>=0.13,<0.16' ||
            say "Not possible here; trials use the masked engine only"
    fi
    say "Building the truly sparse engine and measuring from which density on it pays"
    .venv/bin/sparse-aclib engines >&2
}

# What is to be done before irace can be run; nothing where it can.
lacking_irace() {
    .venv/bin/python -c 'from wrappers.configurators import irace; print(irace.available() or "")'
}

install_irace() {
    [ -n "$(lacking_irace)" ] || return 0
    say "Installing R and irace"
    debian_install r-base-core r-cran-irace && [ -z "$(lacking_irace)" ] && return
    say "irace is left out, and can't be installed from here: $(lacking_irace)"
}

setup() {
    local stamp=.venv/.sparse-aclib wanted place made_in
    wanted=$(cat requirements.lock pyproject.toml | sha256sum)
    # An environment knows its path and the checkout's: after 'mv' or 'cp -r' its commands do not
    # start, or run what lies at the old place.
    made_in=$(sed -n 2p $stamp 2>/dev/null) || true
    place=$(cd .venv 2>/dev/null && pwd -P) || true
    if [ "${made_in:-$place}" != "$place" ]; then
        say "This checkout's .venv was made as $made_in; making it anew"
        rm -rf .venv
    fi
    if [ "$(head -n 1 $stamp 2>/dev/null)" != "$wanted" ]; then
        [ -x .venv/bin/python ] || make_environment
        install_packages
        prepare_engines
        printf '%s\n' "$wanted" "$(cd .venv && pwd -P)" >$stamp
    fi
    install_irace
}

case "${1:-}" in
test | --full) ;;
*) [ $# -le 1 ] || fail "'$1' takes no arguments, found '$2'" ;;
esac

case "${1:-}" in
"")
    setup
    # Those that give every trial the whole training budget: the main job is to end in a quarter hour.
    by=random_search,smac
    [ -n "$(lacking_irace)" ] || by+=,irace
    exec .venv/bin/sparse-aclib benchmark mnist5k --configurators "$by" --trials 50 \
        --validation-seeds 2
    ;;
--full)
    setup
    shift
    [ $# -gt 0 ] || set -- mnist5k
    .venv/bin/sparse-aclib fetch "$@"
    exec .venv/bin/sparse-aclib benchmark --full --results results/full "$@"
    ;;
test)
    setup
    shift
    # Side by side, a file of tests in one process; '-n 0' is one after the other.
    exec .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
    ;;
setup)
    setup
    say "Set up. Next: ./run_all.sh, or '. .venv/bin/activate' and 'sparse-aclib list'"
    ;;
help | -h | --help)
    usage
    ;;
*)
    usage >&2
    fail "unknown command '$1'"
    ;;
esac
