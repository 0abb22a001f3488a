# Shared by the scripts of this folder; they source it after `set -eu`, with $here set.

cache=${MUSTER_CACHE:-${HOME:?}/.cache/muster}
machine=$(uname -m)
target=$machine-linux-musl

say() { echo "toolchain: $*" >&2; }
fail() { say "$*"; exit 1; }

# The release of GCC to use: that of the default g++, else of the newest one beside it that is at
# least 12. Nothing if there is none.
gcc_version() {
    for candidate in g++ g++-16 g++-15 g++-14 g++-13 g++-12; do
        version=$($candidate -dumpversion 2>/dev/null) || continue
        version=${version%%.*}
        if [ "$version" -ge 12 ] && { [ "$candidate" != g++ ] || has "g++-$version"; }; then
            echo "$version"
            return
        fi
    done
}

has() { command -v "$1" >/dev/null 2>&1; }

# native, cross or debian; what they are is told in `prepare`.
toolchain_kind() {
    case $(g++ -dumpmachine 2>/dev/null || true) in
    *-musl*) echo native ;;
    *)  if has "$target-g++"; then echo cross; else echo debian; fi ;;
    esac
}

# quiet LOG COMMAND...: its output goes into LOG and is shown only if it fails.
quiet() {
    log=$1
    shift
    "$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; fail "failed: $*"; }
}

# cached NAME KEY COMMAND: prints the folder $cache/NAME-KEY. If it is not there, COMMAND is called
# with $stage, an empty folder, and $folder, the name it will have; it appears there complete, in
# one step, or not at all.
cached() {
    folder=$cache/$1-$2
    if [ ! -d "$folder" ]; then
        mkdir -p "$cache"
        stage=$(mktemp -d "$cache/new-$1.XXXXXX")
        trap 'rm -rf "$stage"' EXIT
        trap 'exit 1' HUP INT TERM
        chmod 755 "$stage"
        "$3" >&2
        # Somebody else may have been faster; both are the same.
        if mv -T "$stage" "$folder" 2>/dev/null; then
            trap - EXIT
        fi
        [ -d "$folder" ] || fail "cannot make $folder"
    fi
    echo "$folder"
}
