#!/usr/bin/env bash
# Makes a minimal Debian 12 in a new folder, with the apt sources of this machine.  Needs root and debootstrap.
#
#   scripts/make-debian.sh FOLDER [PACKAGE...]
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$1 packages=(ca-certificates "${@:2}")

# The machine's own sources for bookworm, one per line, or Debian's.
apt_sources() {
    # shellcheck disable=SC2016  # apt-get replaces these
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' | grep -E ' bookworm(-updates|-security)? ' | sort -u |
        grep . || echo "deb http://deb.debian.org/debian bookworm main"
}

sources=$(apt_sources)
mirror=$(awk '$3 == "bookworm" { print $2; exit }' <<<"$sources")
include=$(printf ',%s' "${packages[@]}")
# What it mounts for a while goes with it, however it ends.
unshare --mount debootstrap --variant=minbase --include="${include#,}" bookworm "$root" "$mirror"
echo "$sources" >"$root/etc/apt/sources.list"
apt-config dump | { grep -E '^Acquire::(Check|https?::)' || true; } >"$root/etc/apt/apt.conf.d/90machine"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts" # an installer would have written it
rm -f "$root"/var/cache/apt/archives/*.deb
