# Sourced by the scripts beside it: a virtual environment with this checkout installed into it.
#
#   make_environment DIR EXTRAS    makes DIR where it is missing, and installs where the sources have changed

say() { printf '\n== %s\n' "$*"; }

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

install_packages() {  # Debian packages
    command -v apt-get >/dev/null || die "needs the packages $*, and there is no apt-get here to install them"
    as_root apt-get update -qq && as_root apt-get install -y -qq "$@" >/dev/null \
        || die "could not install $*; run: apt-get install $*"
}

fingerprint() {
    (cat pyproject.toml; find shared runtime builder -type f \( -name '*.py' -o -name '*.toml' \) -print0 \
        | sort -z | xargs -0 sha256sum) | sha256sum | cut -d' ' -f1
}

make_environment() {
    local directory=$1 extras=$2 wanted
    command -v python3 >/dev/null || install_packages python3 python3-venv
    if [ ! -x "$directory/bin/python" ]; then
        say "making an environment in $directory"
        python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
        python3 -m venv "$directory"
    fi
    wanted="$extras $(fingerprint)"
    if [ "$(cat "$directory/installed" 2>/dev/null)" != "$wanted" ]; then
        say "installing legodnn$extras"
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check ".$extras"
        # The same version again is not installed again, though its sources have changed.
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
        printf '%s' "$wanted" > "$directory/installed"
    fi
}
