# What the scripts that run inside the booted container share: checks with one line each, and what is asked of the system.
# To be sourced.
set -u
FAILED=0
SPEC=/etc/muster/muster.toml

pass() { echo "ok    $*"; }
fail() { echo "FAIL  $*"; FAILED=1; }
check() {  # check WHAT COMMAND…
  local what=$1
  shift
  if "$@"; then pass "$what"; else fail "$what"; fi
}
pause() { read -r -t 0.05 <> <(:) || true; }
within() {  # within SECONDS COMMAND…: true as soon as the command is; false at the deadline
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    if ((SECONDS >= deadline)); then return 1; fi
    pause
  done
}
not() { ! "$@"; }

property() { systemctl show --property="$1" --value muster.service; }
main_pid() { property MainPID; }
# get [PORT]: the body that the listener answers with; empty when it does not, in time.
GET_SECONDS=3
get() {
  timeout $GET_SECONDS bash -c 'exec 3<>/dev/tcp/127.0.0.1/$0 || exit
    printf "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" >&3; cat <&3' "${1:-80}" 2>/dev/null | tail -n 1
}
answers_with() { [[ $(get "${2:-80}") == *" $1 "* ]]; }
# Every one of 8 answers carries the text, and both ordinals are among them.
all_answer() {
  local bodies
  bodies=$(for _ in 1 2 3 4 5 6 7 8; do get; done)
  [[ $(grep -c " $1 " <<<"$bodies") == 8 && $bodies == *web/0* && $bodies == *web/1* ]]
}
# The pids that 8 answers name, each once.
who_answers() {
  for _ in 1 2 3 4 5 6 7 8; do get "${1:-80}"; done | sed -n 's/.* \([0-9][0-9]*\)$/\1/p' | sort -u | tr '\n' ' '
}
uid_of() { sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null; }
runs_as() { [[ $(uid_of "$2") == "$(id -u "$1")" ]]; }  # runs_as USER PID
processes_of() {  # pids of a user
  local dir
  for dir in /proc/[0-9]*; do
    if runs_as "$1" "${dir#/proc/}" 2>/dev/null; then echo "${dir#/proc/}"; fi
  done
}
pgrep_in() {  # pids whose command line holds $1, without tools that a minimal system lacks
  local dir
  for dir in /proc/[0-9]*; do
    if tr '\0' ' ' 2>/dev/null <"$dir/cmdline" | grep -q -- "$1"; then echo "${dir#/proc/}"; fi
  done
}
replicas() { pgrep_in '^/opt/replica'; }
gone() {  # gone PID…: not one of them runs, zombies aside
  local pid
  for pid in "$@"; do
    if [[ -r /proc/$pid/stat && $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1) != Z ]]; then return 1; fi
  done
}
restarted() { [[ $(property ActiveState) == active && $(main_pid) != 0 && $(main_pid) != "$1" ]]; }  # restarted OLD_PID
journal() { journalctl --sync 2>/dev/null; journalctl --unit=muster.service --output=cat --no-pager; }
priorities() { journalctl --unit=muster.service --output=json --no-pager "_PID=$1" | grep -o '"PRIORITY":"[0-7]"' | sort -u; }

install_muster() {
  cp -r --no-preserve=ownership /test/payload/. /
  systemd-sysusers
  install -d /etc/systemd/system/muster.service.d
  printf '[Service]\nWatchdogSec=3s\nTimeoutStopSec=8s\n' >/etc/systemd/system/muster.service.d/fast.conf
  systemctl daemon-reload
}

# With the journal when something has failed.
finish() {
  if [[ $FAILED == 1 ]]; then
    echo "-- the journal"
    journalctl --sync
    journalctl --no-pager --output=short-precise --unit=muster.service --lines=200
    journalctl --no-pager --output=short-precise --user-unit=muster.service --lines=50
  fi
  exit $FAILED
}
