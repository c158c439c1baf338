# The machine of the transcripts: process 1 of namespaces of its own, where it makes what a reader has: an ordinary
# user ada, with sudo, on a host called laptop; the programs of minirun in /usr/local/bin; empty stores, but for
# the default root filesystem. Nothing of it is seen on the real host, and all of it ends with this process.
#
#   unshare --mount --uts --ipc --net --pid --fork --kill-child --mount-proc bash world.sh
#
# The directory it is called in has nothing but this file, PROGRAMS has minirun and the demos, ROOTFS is the default root filesystem. The shell that takes the commands is ada's, and reads standard input.
set -eu
files=$PWD

hostname laptop
echo 20000 >/proc/sys/kernel/ns_last_pid # pids of the length that they have on a machine that has run for a while
ip link set lo up
# The other end of eth0 is in a namespace of nobody's, which a mount keeps.
touch "$files/outside"
unshare --net="$files/outside" true
nsenter --net="$files/outside" ip link add wire type veth peer name eth0 netns 1
nsenter --net="$files/outside" ip link set wire up
ip address add 192.0.2.10/24 dev eth0
ip link set eth0 addrgenmode none up # no IPv6 address, which would be another each time
until ip -brief link show eth0 | grep -q ' UP '; do # the kernel tells a moment later
    sleep 0.02
done

cover() { # a file of the host, by what is on standard input
    cat >"$files/$(basename "$1")"
    [ -e "$1" ] || return 0
    mount --bind "$files/$(basename "$1")" "$1"
}
without_ada() {
    grep -vE '^ada:|^[^:]*:[^:]*:1000:' "$1" || true
}
{ without_ada /etc/passwd && echo 'ada:*:1000:1000:Ada:/home/ada:/bin/bash'; } | cover /etc/passwd
{ without_ada /etc/group && echo 'ada:*:1000:'; } | cover /etc/group
echo 'ada:100000:65536' | cover /etc/subuid
echo 'ada:100000:65536' | cover /etc/subgid
printf '127.0.0.1 localhost laptop\n' | cover /etc/hosts
echo 'Set disable_coredump false' | cover /etc/sudo.conf
cover /etc/sudoers <<END
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
ada ALL=(ALL:ALL) NOPASSWD: ALL
END
chmod 440 "$files/sudoers"
chmod 644 "$files"/{passwd,group,subuid,subgid,hosts,sudo.conf}

mount --bind -o ro "$PROGRAMS" /usr/local/bin
mount -t tmpfs tmpfs /home
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /run
for store in /var/lib/minirun /home/ada/.local/share/minirun; do
    mkdir -p "$store"/rootfs
    cp -a "$ROOTFS" "$store"/rootfs/default
done
chmod 700 /var/lib/minirun
chown -R 1000:1000 /home/ada
mount -t tmpfs tmpfs /tmp # last: the files may be below

cd /home/ada
# Not exec: process 1 stays a bash, which reaps orphans.
env -i HOME=/home/ada USER=ada LOGNAME=ada SHELL=/bin/bash LANG=C.UTF-8 TERM=dumb \
    PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    setpriv --reuid ada --regid ada --init-groups bash
