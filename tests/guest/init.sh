#!BUSYBOX sh
# The guest's init. The harness puts it, with busybox, the command, its environment and the
# modules, into a directory of its own in the share: /mnt/.guest-TOKEN, which the guest first
# sees as part of its read-only root, and from the mount below on read-write.
here=${0%/*}
token=${here##*.guest-}
box=$here/busybox

# Started anywhere but in our own guest, this must do nothing at all.
[ $$ = 1 ] || exit 1
$box mount -t proc proc /proc
read -r line < /proc/cmdline
case " $line " in *" damonpolicy.guest=$token "*) ;; *) exit 1 ;; esac
$box grep -q '^hostroot / virtiofs ' /proc/mounts || exit 1

off() {
    $box sync
    echo o > /proc/sysrq-trigger
    $box sleep 5
    $box poweroff -f
    $box sleep 5
}
die() {
    echo "guest: $*" > /dev/console
    off
}
# set -e is of no use in an init: it would end in a panic that tells nothing.
try() {
    "$@" || die "failed: $*"
}
mnt() {
    try $box mount "$@"
}

mnt -t sysfs sys /sys
$box mount -t devtmpfs dev /dev
mnt -t tmpfs -o mode=755 run /run
try $box mkdir -p /run/host /run/lock
# From the share every start of it would read it anew: 0.1 s each.
try $box cp "$box" /run/busybox
box=/run/busybox
mnt -t virtiofs share /mnt
$box uname -r > "$here/release" || die "the share cannot be written"

# What the tmpfs below hide of the root stays reachable here.
mnt -o bind / /run/host
mnt -t tmpfs -o mode=1777 tmp /tmp
mnt -t tmpfs -o mode=1777 vartmp /var/tmp
while read -r path; do
    if [ -d "/run/host$path" ]; then
        try $box mkdir -p "$path"
    else
        try $box mkdir -p "${path%/*}"
        : > "$path"
    fi
    mnt -o bind "/run/host$path" "$path"
done < "$here/exposed"
# A directory cannot be made in a read-only /var/lib: so it becomes a list of links.
mnt -t tmpfs -o mode=755 varlib /var/lib
$box ln -s /run/host/var/lib/* /var/lib/
$box rm -f /var/lib/damonpolicy
try $box mkdir -p /var/lib/damonpolicy /tmp/home

$box mkdir -p /dev/pts /dev/shm
mnt -t devpts -o ptmxmode=666 pts /dev/pts
mnt -t tmpfs -o mode=1777 shm /dev/shm
$box ln -sf /proc/self/fd /dev/fd
mnt -t cgroup2 cgroup /sys/fs/cgroup
mnt -t debugfs debug /sys/kernel/debug
mnt -t tracefs trace /sys/kernel/tracing
$box ifconfig lo 127.0.0.1 up || die "no loopback"
$box hostname guest
for module in "$here"/modules/*; do
    [ -e "$module" ] && try $box insmod "$module"
done

# The caller's environment forbids to write the live kernel. Here it is a guest's, as was
# checked above, and this is the only place that lifts it.
. "$here/environment"
unset DAMONPOLICY_FORBID_LIVE
export DAMONPOLICY_GUEST="$token" HOME=/tmp/home TMPDIR=/tmp TERM=dumb
# Not busybox's own shell: it would prefer its small versions of ls, ps and the like.
$box setsid /bin/sh "$here/command" > "$here/output" 2>&1 < /dev/null
echo $? > "$here/status.part"
# By a rename, so that the number is there whole or not at all.
$box sync
$box mv "$here/status.part" "$here/status"
off
