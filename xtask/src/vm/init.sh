#!/bin/sh
# The first process of the guest. It runs the product at the real top of the cgroup hierarchy, and
# says on the second serial port what it saw: `cargo xtask vm` reads these lines.
#   PASS|FAIL NAME BEGIN END SAID…    times in seconds since boot
#   INSTRUCTIONS PROGRAM COUNT        how many the verifier went through
#   ROW JSON                          what the doctor says of a way out
#   END
export PATH=/bin HOME=/root
. /seal.sh
JOB=/sys/fs/cgroup/jobs/one
# The policy allows opaque flows to the one and knows nothing of the other.
ALLOWED=7001
DENIED=7000

say() { echo "$*" >/dev/ttyS1; }
seconds() { cut -d. -f1 /proc/uptime; }
uptime_now() { read -r now _ </proc/uptime && echo "$now"; }

# Runs a check, and says how it went; of what it wrote the last lines.
check() {
    name=$1
    shift
    began=$(uptime_now)
    verdict=FAIL
    said=$("$@" 2>&1) && verdict=PASS
    say "$verdict $name $began $(uptime_now) $(echo "$said" | tail -n 5 | tr '\r\n' '  ')"
    [ $verdict = PASS ]
}

# Waits until a command succeeds; TCG is slow, and how slow nobody knows.
wait_for() {
    until=$(($(seconds) + 60))
    while ! "$@"; do
        [ "$(seconds)" -lt $until ] || return 1
        sleep 0.1
    done
}

fails() { ! "$@"; }
governed() { sh -c 'echo 0 >"$0/cgroup.procs" && exec "$@"' $JOB "$@"; }
reaches() { [ "$(echo greet | timeout 10 nc 127.0.0.1 "$1" 2>/dev/null)" = hello ]; }
governed_reaches() { governed sh /init reaches "$1"; }
pings() { timeout 10 ping -c 1 -W 2 127.0.0.1 >/dev/null 2>&1; }
answers() { gateway status >/dev/null 2>&1; }
to_port() { gateway log --json | grep -c "\"port\":$1[,}]"; }
tree_of_job() { gateway trees --json | grep '"policy":"vm"' | grep -o '"tree":"[^"]*"'; }

start_daemon() {
    gateway daemon >>/var/log/daemon.log 2>&1 &
    daemon=$!
}

mount_the_rest() {
    mount -t sysfs sysfs /sys &&
        mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
        mount -t bpf bpf /sys/fs/bpf &&
        mount -t tracefs tracefs /sys/kernel/tracing &&
        mount -t securityfs securityfs /sys/kernel/security &&
        mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /var &&
        mkdir -p /var/lib /var/log $JOB &&
        ip link set lo up
}

doctor_finds_nothing_missing() {
    gateway doctor --all --json >/tmp/doctor.json
    code=$?
    grep -E '"result":"(missing|unknown)"' /tmp/doctor.json
    grep '"name":"programs"' /tmp/doctor.json
    return $code
}

say_what_the_doctor_counts() {
    grep '"kind":"row"' /tmp/doctor.json | sed 's/^/ROW /' >/dev/ttyS1
    grep '"kind":"program"' /tmp/doctor.json |
        sed -n 's/.*"name":"\([^"]*\)".*"instructions":\([0-9]*\).*/INSTRUCTIONS \1 \2/p' >/dev/ttyS1
}

daemon_is_ready() {
    wait_for answers || { tail -n 4 /var/log/daemon.log; false; }
}

job_is_a_tree() { wait_for tree_of_job; }

denied_is_recorded() {
    gateway log --json --verdict deny | grep "\"port\":$DENIED[,}]" | grep -q '"policy":"vm"'
}

allowed_passes() {
    governed_reaches $ALLOWED || { gateway sessions --json; false; }
}

allowed_is_recorded() {
    gateway log --json --verdict allow | grep "\"port\":$ALLOWED[,}]" | grep -q '"policy":"vm"'
}

# Two parents die, the session is its own, and it leaves the cgroup that it was governed by.
daemonised_is_governed() {
    before=$(to_port $DENIED)
    governed sh -c "(setsid sh /init escape &)"
    wait_for test -s /tmp/escaped
    cat /tmp/escaped
    grep -qx refused /tmp/escaped && [ "$(to_port $DENIED)" -gt "$before" ]
}

escape() {
    echo 0 >/sys/fs/cgroup/cgroup.procs
    said=refused
    reaches $DENIED && said=reached
    grep -q '^0::/$' /proc/self/cgroup || said="still in its cgroup"
    echo "$said" >/tmp/escaped
}

ungoverned_is_not_recorded() {
    before=$(gateway sessions --json | wc -l)
    reaches $DENIED && reaches $ALLOWED && pings &&
        [ "$(gateway sessions --json | wc -l)" -eq "$before" ]
}

dead_daemon_refuses_only_the_governed() {
    governed_reaches $ALLOWED && echo "a governed connection went past a dead daemon" && return 1
    governed_reaches $DENIED && echo "a denied connection went past a dead daemon" && return 1
    reaches $ALLOWED && reaches $DENIED
}

next_daemon_takes_over() {
    daemon_is_ready && [ "$(tree_of_job)" = "$tree" ] && governed_reaches $ALLOWED &&
        ! governed_reaches $DENIED
}

nothing_is_left() {
    gateway uninstall || return 1
    [ -z "$(find /sys/fs/bpf -mindepth 1)" ] || { find /sys/fs/bpf; return 1; }
    gateway doctor --json | grep '"name":"pins"' | grep -q 'nothing is attached' &&
        governed_reaches $DENIED && governed sh /init pings
}

run_all() {
    check mounts mount_the_rest
    check doctor doctor_finds_nothing_missing
    say_what_the_doctor_counts
    nc -ll -p $ALLOWED -e /bin/greet &
    nc -ll -p $DENIED -e /bin/greet &
    check sinks wait_for reaches $DENIED
    start_daemon
    check daemon daemon_is_ready || return
    governed sleep 1000 &
    check tree job_is_a_tree
    tree=$(tree_of_job)
    check allowed allowed_passes
    check allowed-recorded wait_for allowed_is_recorded
    check denied fails governed_reaches $DENIED
    check denied-recorded wait_for denied_is_recorded
    check raw-socket-refused fails governed sh /init pings
    check daemonised daemonised_is_governed
    check ungoverned ungoverned_is_not_recorded
    check_seal
    check seal-upgrade upgrade_keeps_the_seal
    daemon=$(pid_of_daemon)
    kill -9 "$daemon"
    check gone wait_for is_gone "$daemon"
    check daemon-killed dead_daemon_refuses_only_the_governed
    check seal-daemon-killed seal_holds
    start_daemon
    check next-daemon next_daemon_takes_over
    check uninstall nothing_is_left
}

case ${1:-} in
reaches | pings | escape | press) "$@" ;;
*)
    # Of the link that is there already it would say that it is there.
    /bin/busybox --install -s /bin 2>/dev/null
    # There is no port to say anything on, and no time, before.
    mount -t devtmpfs dev /dev
    mount -t proc proc /proc
    run_all
    say END
    tail -n 40 /var/log/daemon.log
    # With -no-reboot this ends QEMU.
    reboot -f
    ;;
esac
