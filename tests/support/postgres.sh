#!/bin/sh
# Looks after one throwaway PostgreSQL server for tests, and outlives whoever started it just long
# enough to remove it: when its input ends, for whatever reason, the server and its files go.
#
#   postgres.sh DIRECTORY BINARIES     commands on the input, one answer a line on the output:
#   init                               makes the data directory
#   start PORT                         starts the server on this port
#   stop fast|immediate                ends it; immediate is what a crash is like
#   freeze, thaw                       stops every process of the server, and lets them go on
#   disk SIZE                          mounts a file system of this size on disk, with the server's
#                                      directory space in it; gone with the script
#   fill, empty                        leaves no room on that file system, and makes room again
#
# PostgreSQL refuses to run as root: then it runs as the user postgres, else nobody.
set -u
directory=$1
binaries=$2
cd "$directory" || exit 1
echo $$ >supervisor.pid

owner=
if [ "$(id -u)" -eq 0 ]; then
  for owner in postgres nobody; do id -u "$owner" >/dev/null 2>&1 && break; done
  chown "$owner" . || exit 1
fi

as_owner() {
  if [ -z "$owner" ]; then
    "$@"
  elif command -v setpriv >/dev/null; then
    setpriv --reuid "$(id -u "$owner")" --regid "$(id -g "$owner")" --clear-groups -- "$@"
  else
    runuser -u "$owner" -- "$@"
  fi
}

# A collation that is not by bytes, so that whoever relies on an order has to say which.
# fsync is on: tests of durability use this server. Only making it need not be durable.
init() {
  set -- --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --no-sync
  as_owner "$binaries/initdb" "$@" --locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US ||
    { rm -rf data && as_owner "$binaries/initdb" "$@" --locale=C; } || return
  as_owner tee -a data/postgresql.conf >/dev/null <<SETTINGS
listen_addresses = '127.0.0.1'
unix_socket_directories = '$directory'
shared_buffers = 32MB
max_connections = 200
max_wal_size = 256MB
$(cat settings)
SETTINGS
}

start() { as_owner "$binaries/pg_ctl" -D data -l server.log -w -t 60 -o "-p $1" start; }
stop() { as_owner "$binaries/pg_ctl" -D data -w -t 60 -m "$1" stop; }

signal() {
  postmaster=$(head -n 1 data/postmaster.pid) && kill "$1" "$postmaster" || return
  # One that has just ended needs no signal.
  for child in $(cat "/proc/$postmaster/task/$postmaster/children"); do
    kill "$1" "$child" 2>/dev/null || true
  done
}

disk() {
  mkdir disk && mount -t tmpfs -o "size=$1" tmpfs disk && mkdir disk/space || return
  [ -z "$owner" ] || chown "$owner" disk disk/space
}

# It is an error that ends this.
fill() { cat /dev/zero >disk/filler || true; }

while read -r command argument; do
  case $command in
    init) init ;;
    start) start "$argument" ;;
    stop) stop "$argument" ;;
    freeze) signal -STOP ;;
    thaw) signal -CONT ;;
    disk) disk "$argument" ;;
    fill) fill ;;
    empty) rm disk/filler ;;
    *) false ;;
  esac </dev/null >>supervisor.log 2>&1
  case $? in
    0) echo ok ;;
    *) echo failed ;;
  esac
done

exec </dev/null >/dev/null 2>&1
[ ! -e data/postmaster.pid ] || { signal -CONT; stop immediate; }
[ ! -d disk ] || umount disk
cd / && rm -rf "$directory"
