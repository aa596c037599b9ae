#!/bin/bash
# Makes the image localhost/trelay/debian-base from Debian packages, for machines that reach a Debian mirror and no image
# registry: `deploy/image/debian-base.sh`, then `make images BASE=localhost/trelay/debian-base`. Needs root, debootstrap
# and podman. DEBIAN_MIRROR names the mirror; by default it is the one of apt.
set -euo pipefail

suite=${DEBIAN_SUITE:-bookworm}
image=${1:-localhost/trelay/debian-base}
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" 'Created-By: Packages' | head -1)}
packages=python3,python3-venv,tini,ca-certificates,tzdata

root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror" >&2
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,man,locale}/*
tar --numeric-owner -C "$root" -c . | podman import --quiet --change 'ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$image" >&2
echo "$image"
