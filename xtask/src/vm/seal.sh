# What the programs of BPF LSM close, row by row: `init` reads this file. Each way is tried outside of
# governed trees, where it goes through, and inside, where the kernel says no.

# The errno that a way ends with; `through` where it has none.
answer_of() { said=$("$@") && said=through; echo "$said"; }
is_sealed() {
    gateway status --json | grep -o '"tier":"[^"]*"'
    grep 'not seal' /var/log/daemon.log
    gateway status --json | grep -q '"tier":"seal"' && grep '"kind":"summary"' /tmp/doctor.json |
        grep -q '"tier":"seal"'
}

# Both answers in one line, compared.
tried() {
    expected="$1 $2"
    shift 2
    answers="$(answer_of intruder "$@") $(answer_of governed intruder "$@")"
    echo "$*: outside and inside of a tree: $answers; expected: $expected"
    [ "$answers" = "$expected" ]
}

families_are_refused() {
    # Debian's kernels have AF_PACKET and AF_ALG; of the others only the refusal can be seen.
    tried through EAFNOSUPPORT socket 17 3 0 || return
    for family in 15 30 31 38 40 43 44; do
        before=$(refusals)
        [ "$(answer_of governed intruder socket $family 2 0)" = EAFNOSUPPORT ] || { echo $family; return 1; }
        wait_for more_refusals "$before" || { echo "family $family is not reported"; return 1; }
    done
    tried through EPROTONOSUPPORT socket 16 3 9 && tried through through socket 16 3 0 &&
        tried through through socket 16 3 15 && tried through through socket 1 1 0
}

# What the kernel refused is counted by the daemon's log, which has ten lines a second at most.
refusals() { grep -c 'the kernel refused a call' /var/log/daemon.log; }
more_refusals() { [ "$(refusals)" -gt "$1" ]; }

unix_sockets_are_refused() {
    mkdir -p /run/listed
    intruder serve /run/agent.sock >/dev/null 2>&1 &
    intruder serve /run/listed/a.sock >/dev/null 2>&1 &
    intruder serve @hidden >/dev/null 2>&1 &
    intruder serve-datagrams /run/log.sock >/dev/null 2>&1 &
    intruder serve-datagrams /run/listed/log.sock >/dev/null 2>&1 &
    governed intruder serve @of-a-tree >/dev/null 2>&1 &
    wait_for intruder connect @of-a-tree && wait_for intruder connect @hidden &&
        wait_for test -S /run/listed/log.sock &&
        tried through EPERM connect /run/agent.sock && tried through through connect /run/listed/a.sock &&
        tried through EPERM connect @hidden && tried through EPERM connect @of-a-tree &&
        tried through EPERM datagram /run/log.sock && tried through through datagram /run/listed/log.sock &&
        tried through through own-tree && governed gateway trees --json
    result=$?
    killall intruder
    return $result
}

# A listener waits for who passes a descriptor to it: `through`, or what it says.
passed() {
    "$@" intruder receive /run/inbox >/tmp/received 2>&1 &
    receiver=$!
    intruder pass /run/inbox "$kind" || { echo "$kind cannot be passed"; killall intruder; return 1; }
    wait $receiver && echo through >/tmp/received
    cat /tmp/received
}

# The kernel cuts off what is refused, and the message has less than it was to have (ENOBUFS).
descriptors_do_not_come_in() {
    [ -e /dev/mem ] || mknod /dev/mem c 1 1
    for case in $DENIED:ENOBUFS /dev/mem:ENOBUFS /init:through; do
        kind=${case%:*} expected=${case#*:}
        outside=$(passed env) inside=$(passed governed)
        echo "$kind: outside and inside of a tree: $outside $inside"
        [ "$outside" = through ] && [ "$inside" = "$expected" ] || return
    done
}

processes_are_not_traced() {
    sleep 1000 >/dev/null 2>&1 &
    victim=$!
    tried through EPERM trace $victim
    result=$?
    kill $victim
    [ $result = 0 ] || return
    sleep 1000 >/dev/null 2>&1 &
    victim=$!
    tried through EPERM take $victim 0 && tried through EACCES memory $victim &&
        tried through through look $victim
    result=$?
    kill $victim
    return $result
}

bpf_is_refused() { tried through EPERM bpf && tried through through device-program; }

pins_stay() {
    links=$(echo /sys/fs/bpf/gateway/links-*)
    set -- "$links"/*
    for pin; do
        [ "$(answer_of governed intruder remove "$pin")" = EPERM ] || { echo "$pin"; return 1; }
    done
    [ "$(answer_of governed intruder move "$links" /sys/fs/bpf/gone)" = EPERM ] &&
        ! governed rm -rf /sys/fs/bpf/gateway 2>/dev/null &&
        [ "$(answer_of governed intruder unmount-lazily /sys/fs/bpf)" = EPERM ] &&
        [ "$(answer_of governed intruder unmount-lazily /sys)" = EPERM ] &&
        [ -e "$links/redirect4" ] && mkdir -p /tmp/mnt &&
        governed mount -t tmpfs tmpfs /tmp/mnt && governed umount /tmp/mnt &&
        mount -t tmpfs tmpfs /tmp/mnt && umount -l /tmp/mnt
}

devices_stay_shut() {
    mkdir -p /dev/net
    [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
    # Under another name it is the same. Debian's cloud kernels have the driver as a module: ENODEV.
    mknod /tmp/other c 10 200
    outside=$(answer_of intruder open /dev/net/tun)
    tried "$outside" EPERM open /dev/net/tun && tried "$outside" EPERM open /tmp/other &&
        tried through through open-to-write /dev/null &&
        tried "$(answer_of intruder type /dev/ttyS0)" EPERM type /dev/ttyS0 &&
        [ "$(answer_of intruder type /dev/ttyS0)" != EPERM ] &&
        [ "$(answer_of intruder open /proc/kcore)" != EPERM ] &&
        tried "$(answer_of intruder open /proc/kcore)" EPERM open /proc/kcore
}

helpers_are_not_named() {
    tried through EPERM open-to-write /proc/sys/kernel/core_pattern &&
        tried through through open /proc/sys/kernel/core_pattern &&
        tried through EPERM open-to-write /proc/sys/kernel/modprobe &&
        mkdir -p /tmp/proc && mount -t proc proc /tmp/proc &&
        tried through EPERM open-to-write /tmp/proc/sys/kernel/core_pattern && umount /tmp/proc &&
        tried "$(answer_of intruder key)" EPERM key
}

network_file_systems_are_refused() {
    # 9P and NFS are modules: EPERM, where the kernel would else say that it does not know them, comes
    # of file systems that it has. `pipefs` stands for those.
    tried through EPERM set-up pipefs && tried through through set-up tmpfs &&
        mkdir -p /tmp/mnt && governed mount -t proc proc /tmp/mnt && governed umount /tmp/mnt
}

kernel_code_is_refused() {
    tried ENOEXEC EPERM module && tried ENOEXEC EPERM module-file /init &&
        tried "$(answer_of intruder kexec)" EPERM kexec
}

rules_are_refused() {
    tried through EPERM tc && tried through through links &&
        tried "$(answer_of intruder tables)" EPERM tables && [ "$(answer_of intruder tables)" != EPERM ]
}

rings_of_others_are_refused() {
    mkdir -p /sys/fs/cgroup/free
    intruder ring /sys/fs/cgroup/free || { echo "outside it fails too"; return 1; }
    ! intruder ring $JOB
}

# The gateway's files, its process, and what has others work; by every way to them that there is.
files_are_guarded() {
    policy=/etc/gateway/policies/vm.toml
    echo "* * * * * root true" >/etc/cron.d/there
    for file in $policy /etc/gateway/gateway.toml /etc/cron.d/there /proc/1/root$policy; do
        tried through EPERM open-to-write $file && tried through through open $file || return
    done
    secret=$(echo /var/lib/gateway/journal/*)
    secret=${secret%% *}
    mkdir -p /tmp/view && tried through EPERM open "$secret" && tried through EPERM open-to-write "$secret" || return
    # A bind mount of what is above, in mounts of its own.
    unshare -m sh -c 'mount --bind /var/lib /tmp/view && echo 0 >"$0/cgroup.procs" && exec intruder open "$1"' \
        $JOB "/tmp/view${secret#/var/lib}" && echo "by another mount it is read" && return 1
    for call in "touch /etc/cron.d/new" "mkdir /etc/cron.d/new" "ln -s /x /etc/cron.d/new" "mknod /etc/cron.d/new p" \
        "ln $policy /root/link" "rm /etc/cron.d/there" "mv $policy /root/gone" "mv /etc/gateway /etc/other" \
        "mv /etc /other" "rm /bin/gateway" "mv /init /etc/cron.d/there" "chmod 777 $policy" "truncate -s 0 $policy" \
        "mount -t tmpfs tmpfs /etc/gateway" "mount --bind /tmp /etc" "kill -0 $daemon" "kill -STOP $daemon"; do
        governed $call 2>/dev/null && echo "$call went through" && return 1
    done
    # The same outside, as far as it does no harm; and others' files stay theirs.
    touch /etc/cron.d/new && rm /etc/cron.d/new && ln $policy /root/link && rm /root/link && kill -0 $daemon &&
        governed touch /root/new && governed mv /root/new /root/newer && governed chmod 777 /root/newer &&
        governed rm /root/newer && governed unshare -m mount --bind /tmp /root &&
        [ -s $policy ] && governed gateway trees --json
}

shadow_refuses_nothing() {
    sed 's/"vm"/"shadow"/; s/jobs/shadow/; s/enforce/shadow/' /etc/gateway/policies/vm.toml >/etc/gateway/policies/shadow.toml
    mkdir -p /sys/fs/cgroup/shadow/one
    kill -HUP $daemon
    wait_for shadow_is_there || { gateway status --json; return 1; }
    before=$(refusals)
    JOB=/sys/fs/cgroup/shadow/one
    tried through through bpf && tried through through socket 17 3 0 &&
        tried through through open-to-write /proc/sys/kernel/core_pattern && tried through through set-up pipefs &&
        wait_for more_refusals "$before"
    result=$?
    JOB=/sys/fs/cgroup/jobs/one
    rm /etc/gateway/policies/shadow.toml
    return $result
}
shadow_is_there() { gateway status --json | grep -q '"name":"shadow"'; }

# What gets through while the programs are exchanged, tried all the time from within a tree.
press() {
    rm -f /tmp/stop /tmp/slipped /tmp/pressed
    until [ -e /tmp/stop ]; do
        intruder bpf >/dev/null && echo "bpf" >>/tmp/slipped
        intruder socket 17 3 0 >/dev/null && echo "AF_PACKET" >>/tmp/slipped
        intruder open-to-write /etc/gateway/gateway.toml >/dev/null && echo "the configuration" >>/tmp/slipped
        reaches $DENIED && echo "a connection that is denied" >>/tmp/slipped
        echo >>/tmp/pressed
    done
}
has_pressed() { [ "$(wc -l </tmp/pressed)" -gt "$1" ]; }
pid_of_daemon() { gateway status --json | grep -o '"pid":[0-9]*' | grep -o '[0-9]*'; }
is_gone() { ! grep -qv ') Z ' "/proc/$1/stat" 2>/dev/null; }

# To a daemon whose programs are others.
upgrade_keeps_the_seal() {
    before=$(pid_of_daemon)
    governed sh /init press &
    presser=$!
    wait_for has_pressed 0 && echo 'debug_log = true' >>/etc/gateway/gateway.toml && gateway upgrade
    code=$?
    has_pressed 0 && wait_for has_pressed $(($(wc -l </tmp/pressed) + 1))
    touch /tmp/stop
    wait $presser
    [ $code = 0 ] && [ ! -e /tmp/slipped ] || { cat /tmp/slipped; return 1; }
    wait_for is_gone "$before" && [ "$(pid_of_daemon)" != "$before" ] && is_sealed &&
        tried through EPERM bpf && governed_reaches $ALLOWED && ! governed_reaches $DENIED && pins_stay
}

# With the daemon dead.
seal_holds() {
    tried through EPERM bpf && tried through EAFNOSUPPORT socket 17 3 0 && pins_stay
}

check_seal() {
    check seal is_sealed || return
    check seal-families families_are_refused
    check seal-unix unix_sockets_are_refused
    check seal-descriptors descriptors_do_not_come_in
    check seal-trace processes_are_not_traced
    check seal-bpf bpf_is_refused
    check seal-pins pins_stay
    check seal-devices devices_stay_shut
    check seal-helpers helpers_are_not_named
    check seal-mounts network_file_systems_are_refused
    check seal-code kernel_code_is_refused
    check seal-rules rules_are_refused
    check seal-rings rings_of_others_are_refused
    check seal-guard files_are_guarded
    check seal-shadow shadow_refuses_nothing
}
