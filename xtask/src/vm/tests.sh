#!/bin/sh
# The first process of the guest that runs the harness's own tests, as they are run on a host. What it
# says on the second serial port is that it is up, then libtest's, then the tests that could not run,
# then END.
export PATH=/usr/lib/postgresql/15/bin:/usr/bin:/usr/sbin:/bin:/sbin HOME=/root LANG=C.UTF-8

mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
while read -r kind place; do
    mount -t "$kind" "$kind" "$place"
done <<END
proc /proc
sysfs /sys
cgroup2 /sys/fs/cgroup
bpf /sys/fs/bpf
tracefs /sys/kernel/tracing
securityfs /sys/kernel/security
devpts /dev/pts
tmpfs /dev/shm
tmpfs /run
tmpfs /tmp
END
chmod 1777 /tmp /dev/shm
ip link set lo up
for module in /modules/*.ko; do
    busybox insmod "$module"
done
# Where the machine that this was packed on has none.
[ -e /etc/resolv.conf ] || echo "nameserver 127.0.0.1" >/etc/resolv.conf
# root becomes another user, and nobody logs in.
mkdir -p /etc/pam.d
printf '%s\n' "auth sufficient pam_rootok.so" "account required pam_permit.so" \
    "session required pam_permit.so" | tee /etc/pam.d/su >/etc/pam.d/other
export RUST_BACKTRACE=0 GATEWAY_SKIPS=/run/skipped CARGO_MANIFEST_DIR="$(cat /manifest)"
cd / || exit
touch $GATEWAY_SKIPS
read -r now _ </proc/uptime
echo "PASS up 0 $now" >/dev/ttyS1
# Each by itself, so that one that hangs, or that a signal ends, takes none of the others along. 101 is
# what libtest ends with when it has said itself that a test failed.
while read -r name; do
    timeout 2400 "$(cat /program)" --exact --test-threads=1 "$name"
    code=$?
    case $code in
    0 | 101) ;;
    *) echo && echo "test $name ... ended-by-$code" ;;
    esac
done </names >/dev/ttyS1 2>&1
sed 's/^/SKIP /' $GATEWAY_SKIPS >/dev/ttyS1
echo END >/dev/ttyS1
# With -no-reboot this ends QEMU.
busybox reboot -f
