#!/bin/sh
# Where a node keeps its datasets: a pool in a file, mounted at /var/lib/flocker. It is of ZFS where the
# module for this kernel can be built, and of btrfs, which Debian's kernels have, where not.
. "$(dirname "$0")/common.sh"

pool=/var/lib/powerstrip-pool
kernel=$(uname -r)

# ZFS is in contrib, and its module is built against the headers of just this kernel. The archive
# has those of the newest kernels only.
with_zfs() {
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$file" ] || sed -i -E \
            '/^(deb |Components:)/ { / contrib/! s/ main( |$)/ main contrib\1/ }' "$file"
    done
    refresh
    apt-cache show "linux-headers-$kernel" >/dev/null 2>&1 || {
        say "there are no headers of the kernel $kernel to build ZFS with"
        return 1
    }
    if ! install "linux-headers-$kernel" zfs-dkms zfsutils-linux || ! modprobe zfs; then
        say "no module of ZFS could be built for the kernel $kernel"
        return 1
    fi
}

if [ -e "$etc/storage" ]; then
    say "datasets are kept in $(cat "$etc/storage")"
    exit 0
fi
mkdir -p /var/lib/flocker
truncate --size 8G "$pool.new" # takes room on the disk as it is written
if with_zfs; then
    mv "$pool.new" "$pool"
    zpool create -m /var/lib/flocker flocker "$pool"
    storage=zfs:flocker
else
    say "so datasets are kept in btrfs"
    install btrfs-progs
    mkfs.btrfs --quiet "$pool.new" 2>/dev/null
    mv "$pool.new" "$pool"
    grep -q "^$pool " /etc/fstab 2>/dev/null ||
        echo "$pool /var/lib/flocker btrfs loop,nofail 0 0" >>/etc/fstab
    mount /var/lib/flocker || fail "the kernel $kernel mounts no btrfs either"
    storage=btrfs:/var/lib/flocker
fi
echo "$storage" >"$etc/storage"
