#!/bin/bash
# Runs as root inside the booted machine: what the service is to its manager, from the first connection to its socket to
# the last trace of it. Prints one line per check; the journal follows when one failed. Exit 0 when all hold.
. /test/lib.sh
GET_SECONDS=60

UNIT=/sys/fs/cgroup/system.slice/muster.service

write_spec() {
  cat >$SPEC <<SPEC
[listen.front]
bind = "${BIND:-127.0.0.1:80}"
to   = "web"

[app.web]
run      = "/opt/replica {port} one --leave-behind"
replicas = 2
health   = "/"
limits   = { memory = "64MiB", pids = 20 }
stop     = { drain = "1s", timeout = "1s" }

[app.db]
run      = "/opt/replica {port} data"
replicas = 2
port     = 5440
volume   = "data"

[app.local]
run  = "perl /opt/local {port}"
port = "unix"

[app.deaf]
run      = "/opt/deaf"
replicas = ${DEAF:-0}
stop     = { timeout = "${DEAF_FOR:-12s}" }
SPEC
}

# One that listens on a unix socket, and one that ignores TERM with all that it starts.
write_programs() {
  cat >/opt/local <<'PERL'
use Socket;
my $listener;
socket($listener, PF_UNIX, SOCK_STREAM, 0) && bind($listener, sockaddr_un($ARGV[0])) && listen($listener, 8) or die "$ARGV[0]: $!";
accept(my $client, $listener) && close($client) while 1;
PERL
  cat >/opt/deaf <<'SH'
#!/bin/sh
trap '' TERM
sh -c 'while :; do sleep 1000; done' &
while :; do sleep 1000; done
SH
  chmod 755 /opt/deaf
}

mounts() { cut -d' ' -f3- /proc/self/mountinfo | sort; }
listening() { sed -n 's/^ *[0-9]*: \([0-9A-F:]*\) [0-9A-F:]* 0A .*/\1/p' /proc/net/tcp /proc/net/tcp6 | sort; }
look_around() { mounts >/root/mounts; listening >/root/listening; }
# A line for everything that there was not when look_around() looked.
traces() {
  local dir
  for dir in /proc/[0-9]*; do
    if tr '\0' '\n' 2>/dev/null <"$dir/environ" | grep -q '^MUSTER_' && not gone "${dir#/proc/}"; then
      echo "process ${dir#/proc/}: $(tr '\0' ' ' <"$dir/cmdline")"
    fi
  done
  processes_of muster | sed 's/^/process of muster: /'
  pgrep_in '^[^ ]*/muster' | sed 's/^/process: /'
  find /sys/fs/cgroup -type d -path '*/muster.service*' | sed 's/^/control group: /'
  mounts | diff /root/mounts - | grep '^[<>]' | sed 's/^/mount: /'
  listening | diff /root/listening - | grep '^[<>]' | sed 's/^/socket: /'
  grep -i muster /proc/net/unix | sed 's/^/socket: /'
  find /run -xdev -name '*muster*' ! -path '/run/systemd/*' | sed 's/^/file: /'
  find /run/user -path '*/muster/*' | sed 's/^/file: /'
  [[ $(property NFileDescriptorStore) == 0 ]] || echo "descriptors in the manager's store: $(property NFileDescriptorStore)"
}
no_trace() { [[ -z $(traces) ]]; }
leaves_no_trace() {  # leaves_no_trace WHAT
  within 10 no_trace || traces
  check "$1 leaves no process, group, mount, socket or descriptor" no_trace
}

all_ready() { [[ $(muster ps -o json | grep -o '"state":"ready","reason":null,"revision":[0-9]*,"hold"' | wc -l) -ge ${1:-3} ]]; }
starts() {
  write_spec
  check "start returns when muster says READY" systemctl start muster.service
  check "all apps are ready" within 60 all_ready
  check "both replicas answer" within 60 all_answer one
}

exits_with() { local wanted=$1; shift; "$@" >/dev/null 2>&1; [[ $? == "$wanted" ]]; }
# Members of the service's group may ask and tell, by whatever group is their first.
answers_its_group() {
  useradd --system --groups muster member
  useradd --system other
  check "a member of group muster is answered" runuser --user member -- muster ps
  check "and may tell it something" runuser --user member -- muster scale web=2
  check "somebody else is not answered (77)" exits_with 77 runuser --user other -- muster ps
  runuser --user member -- muster scale web=file >/dev/null
}

# What lives on: replicas, strays and all.
living() { { replicas; pgrep_in '^perl /opt/local'; pgrep_in '/opt/deaf'; } | sort; }
limited() {  # the kernel holds both replicas of web to their limits
  local group count=0
  for group in $UNIT/muster-*/web-*; do
    [[ $(<"$group/memory.max") == 67108864 && $(<"$group/pids.max") == 20 ]] || return 1
    count=$((count + 1))
  done 2>/dev/null
  [[ $count == 2 ]]
}
never_restarted() { [[ $(muster ps -o json | grep -o '"restarts":[0-9]*' | sort -u) == '"restarts":0' ]]; }

survives_a_hang() {
  local turn turns=0 before daemon answering restarts
  for turn in first second; do
    turns=$((turns + 1))
    before=$(living) daemon=$(main_pid) answering=$(who_answers) restarts=$(property NRestarts)
    check "$turn hang: two replicas answer before it ($answering)" [ "$(wc -w <<<"$answering")" = 2 ]
    kill -STOP "$daemon"
    check "$turn hang: the watchdog ends it and another one runs" within 120 restarted "$daemon"
    check "$turn hang: it is dead" gone "$daemon"
    check "$turn hang: it was the watchdog" within 20 eval '[[ $(property NRestarts) -gt $restarts && $(journal | grep -ci "watchdog timeout") -ge $turns ]]'
    check "$turn hang: the same two have the traffic again" within 30 eval '[[ $(who_answers) == "$answering" ]]'
    check "$turn hang: every process is one of before" [ "$(living)" = "$before" ]
    check "$turn hang: the next one tells whom it has found" eval 'journal | grep -q "found running as pid ${answering%% *}"'
    check "$turn hang: none counts as restarted" never_restarted
    check "$turn hang: the kernel holds them to their limits again" within 30 limited
  done
}

# A client that asks again and again: a byte in /root/asked for each answer, a line in /root/refused for what was none.
ask_on() {
  local body
  while [[ ! -e /root/asked_enough ]]; do
    body=$(get)
    if [[ $body != *" one "* ]]; then echo "answer: '$body'"; fi
    echo -n . >>/root/asked
  done >>/root/refused
}
answers() { stat -c %s /root/asked; }
asked_more() { [[ $(answers) -ge $(($1 + 5)) ]]; }
# No descriptor of a socket that the manager made, no name of one, and nothing else that it told muster.
knows_nothing_of_sockets() {
  local pid inode
  inode=$(awk '$2 ~ /:0050$/ && $4 == "0A" { print $10 }' /proc/net/tcp /proc/net/tcp6)
  [[ $inode =~ ^[0-9]+$ ]] && ls -l "/proc/$(main_pid)/fd" | grep -q "socket:\[$inode\]" || return 1
  for pid in $(replicas); do
    if tr '\0' '\n' <"/proc/$pid/environ" | grep -E '^(LISTEN_|NOTIFY_SOCKET|FDSTORE|INVOCATION_ID|JOURNAL_STREAM)'; then return 1; fi
    if ls -l "/proc/$pid/fd" | grep "socket:\[$inode\]"; then return 1; fi
  done
}

# Of five replicas, two descriptors each.
stores_ten() { [[ $(property NFileDescriptorStore) == 10 ]]; }
is_started_by_a_connection() {
  local before daemon
  systemctl stop muster.service
  BIND=systemd:front write_spec
  check "the socket of the package starts" systemctl start muster.socket
  check "muster does not run yet" [ "$(property ActiveState)" = inactive ]
  check "the first connection starts it and is answered" eval '[[ $(get) == *" one "* ]]'
  check "it runs" [ "$(property ActiveState)" = active ]
  check "the manager has the output of all replicas" within 20 stores_ten
  check "replicas have neither the manager's socket nor a word about it" knows_nothing_of_sockets

  : >/root/asked
  : >/root/refused
  rm -f /root/asked_enough
  ask_on &
  check "a client is answered again and again" within 30 asked_more 0
  check "restart" systemctl restart muster.service
  check "it goes on being answered" within 60 asked_more "$(answers)"
  check "upgrade" muster upgrade
  check "it goes on being answered after the upgrade" within 60 asked_more "$(answers)"
  check "the manager has the output no second time" [ "$(property NFileDescriptorStore)" = 10 ]
  touch /root/asked_enough
  wait $!
  check "not one of its $(answers) requests failed over restart and upgrade $(head -n 3 /root/refused)" test ! -s /root/refused

  before=$(living) daemon=$(main_pid)
  kill -KILL "$daemon"
  check "who connects while no muster runs waits, and is answered" eval '[[ $(get) == *" one "* ]]'
  check "by another muster" within 20 restarted "$daemon"
  check "with the replicas of before" [ "$(living)" = "$before" ]
  check "whose output alone is in the store" within 20 stores_ten
  check "stop" systemctl stop muster.socket muster.service
  leaves_no_trace "a stop of service and socket"
  write_spec
}

is_stopped() {
  starts
  check "stop" systemctl stop muster.service
  check "it ended well" [ "$(property ActiveState)/$(property Result)" = inactive/success ]
  leaves_no_trace "a stop"
}

# TimeoutStopSec is 8 s, a replica that ignores TERM has 12 s: muster asks for more time.
is_stopped_slowly() {
  local began
  DEAF=1
  starts
  check "who ignores TERM runs" within 20 eval '[[ -n $(pgrep_in /opt/deaf) ]]'
  began=$SECONDS
  check "a stop that takes longer than TimeoutStopSec" systemctl stop muster.service
  check "took as long as the replica has ($((SECONDS - began)) s)" [ $((SECONDS - began)) -ge 12 ]
  check "did not time out" [ "$(property ActiveState)/$(property Result)" = inactive/success ]
  leaves_no_trace "a slow stop"
}

# It hangs while it waits for a replica that ignores TERM: nobody asks for more time, the manager kills it.
is_stopped_too_late() {
  local daemon
  DEAF=1 DEAF_FOR=10m
  starts
  check "who ignores TERM runs" within 20 eval '[[ -n $(pgrep_in /opt/deaf) ]]'
  daemon=$(main_pid)
  systemctl stop --no-block muster.service
  check "all others have stopped" within 30 eval '[[ -z $(replicas) ]]'
  check "who ignores TERM is waited for" eval '[[ -n $(pgrep_in /opt/deaf) && $(main_pid) == "$daemon" ]]'
  kill -STOP "$daemon"
  check "the stop times out" within 90 eval '[[ $(property ActiveState)/$(property Result) == failed/timeout ]]'
  leaves_no_trace "a stop that timed out"
  systemctl reset-failed muster.service
  DEAF=0 DEAF_FOR=12s
}

# A drop-in with User= as systemctl edit writes it.
runs_as_another_user() {
  local before daemon
  useradd --system --no-create-home svc
  printf '[Service]\nUser=svc\nGroup=svc\n' >/etc/systemd/system/muster.service.d/user.conf
  systemctl daemon-reload
  starts
  daemon=$(main_pid)
  check "it runs as that user" runs_as svc "$daemon"
  check "so do its replicas" [ "$(for pid in $(replicas); do uid_of "$pid"; done | sort -u)" = "$(id -u svc)" ]
  check "state and logs are that user's" [ "$(stat -c %U/%G /var/lib/muster /var/log/muster | sort -u)" = svc/svc ]
  check "its control groups are too" [ "$(stat -c %U $UNIT/cgroup.procs)" = svc ]
  check "the kernel holds replicas to their limits" within 30 limited
  check "ps says so" eval 'muster ps -o json | grep -q "\"memory\":{\"limit\":67108864,\"enforced\":\"cgroup\"}"'
  before=$(living)
  kill -KILL "$daemon"
  check "killed, another one runs as that user" within 60 eval 'restarted "$daemon" && runs_as svc "$(main_pid)"'
  check "with the replicas of before" eval 'within 20 all_answer one && [[ $(living) == "$before" ]]'
  check "held to their limits again" within 30 limited
  check "it reloads" systemctl reload muster.service
  check "it stops" systemctl stop muster.service
  leaves_no_trace "a stop as another user"
  rm /etc/systemd/system/muster.service.d/user.conf
  systemctl daemon-reload
  starts
  check "back to user muster: the volumes' data is its own again" [ "$(stat -c %U /var/lib/muster/volumes/db/0/data)" = muster ]
  systemctl stop muster.service
}

user() { runuser --user dev -- env XDG_RUNTIME_DIR=/run/user/1000 "$@"; }
of_user() { user systemctl --user show --property="$1" --value muster.service; }
answered_by() { [[ $(who_answers 8080) == "$1" ]]; }
serves_a_user() {
  local before answering daemon
  useradd --uid 1000 --create-home dev
  install -d -o dev /home/dev/.config /home/dev/.config/muster /home/dev/.config/systemd /home/dev/.config/systemd/user \
    /home/dev/.config/systemd/user/muster.service.d
  printf '[Service]\nWatchdogSec=20s\nTimeoutStartSec=5min\nTimeoutStopSec=8s\n' >/home/dev/.config/systemd/user/muster.service.d/fast.conf
  printf '[app.web]\nrun = "/opt/replica {port} mine --leave-behind"\nreplicas = 2\nlisten = 8080\nhealth = "/"\n' >/home/dev/.config/muster/muster.toml
  loginctl enable-linger dev
  check "without a login the user's manager runs" within 60 test -S /run/user/1000/systemd/private
  look_around
  check "the user's muster starts" user systemctl --user enable --now muster.service
  check "both replicas answer" within 30 eval '[[ $(who_answers 8080 | wc -w) == 2 ]]'
  before=$(living) answering=$(who_answers 8080) daemon=$(of_user MainPID)
  kill -STOP "$daemon"
  check "the watchdog ends one that hangs" within 120 eval '[[ $(of_user MainPID) != "$daemon" && $(of_user ActiveState) == active ]]'
  check "its replicas go on with the traffic" within 30 answered_by "$answering"
  daemon=$(of_user MainPID)
  kill -KILL "$daemon"
  check "killed, another one runs" within 60 eval '[[ $(of_user MainPID) != "$daemon" && $(of_user ActiveState) == active ]]'
  check "the replicas still have the traffic" within 30 answered_by "$answering"
  check "and all processes are those of before" [ "$(living)" = "$before" ]
  sed -i 's/mine/edited/' /home/dev/.config/muster/muster.toml
  check "it reloads" user systemctl --user reload muster.service
  check "what was edited is replaced" within 30 answers_with edited 8080
  check "it stops" user systemctl --user stop muster.service
  check "it ended well" [ "$(of_user ActiveState)/$(of_user Result)" = inactive/success ]
  leaves_no_trace "a stop of the user's"
}

install_muster
printf '[Service]\nWatchdogSec=20s\nTimeoutStartSec=5min\nTimeoutStopSec=8s\n' >/etc/systemd/system/muster.service.d/fast.conf
systemctl daemon-reload
write_programs
look_around
for part in starts answers_its_group survives_a_hang is_stopped is_started_by_a_connection is_stopped_slowly is_stopped_too_late runs_as_another_user serves_a_user; do
  echo "-- $part"
  $part
  if [[ $part == starts && $FAILED == 1 ]]; then break; fi # everything after it builds on a running service
done
finish
