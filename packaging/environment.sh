# Sourced by the scripts beside it: a virtual environment with this checkout installed into it.
#
#   make_environment DIR EXTRAS    makes DIR where it is missing, and installs where the sources have changed
#
# PYTHON names the interpreter to make it with (default: python3).

say() { printf '\n== %s\n' "$*"; }

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        command -v sudo >/dev/null || die "needs root for: $*"
        sudo "$@"
    fi
}

install_packages() {  # Debian packages
    command -v apt-get >/dev/null || die "needs the packages $*, and there is no apt-get here to install them"
    say "installing $*"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null \
        || die "could not install $*; install it by hand and run this again"
}

fingerprint() {  # of everything that is installed from here
    (cat pyproject.toml; find shared runtime builder -type f \( -name '*.py' -o -name '*.toml' -o -name '*.j2' \) -print0 \
        | sort -z | xargs -0 sha256sum) | sha256sum | cut -d' ' -f1
}

find_python() {
    python=${PYTHON:-python3}
    command -v "$python" >/dev/null || install_packages python3 python3-venv
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
        || die "$python is $("$python" -V); the builder needs 3.10 or newer: name another one with PYTHON=..."
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
}

make_environment() {
    local directory=$1 extras=$2 wanted
    if ! "$directory/bin/python" -m pip --version >/dev/null 2>&1; then  # none, or one whose making was interrupted
        find_python
        say "making an environment in $directory"
        "$python" -m venv --clear "$directory"
    fi
    wanted="$extras $(fingerprint)"
    if [ "$(cat "$directory/installed" 2>/dev/null)" != "$wanted" ]; then
        say "installing legodnn$extras"
        rm -rf build  # what an earlier build left there would be packed again, modules that are gone included
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check ".$extras"
        rm -rf build
        printf '%s' "$wanted" > "$directory/installed"
    fi
}
