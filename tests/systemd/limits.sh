#!/bin/bash
# Runs as root inside the booted machine: limits by the kernel's own controllers, over everything that may happen to the
# service. Prints one line per check; the journal follows when one failed. Exit 0 when all hold.
. /test/lib.sh

UNIT=/sys/fs/cgroup/system.slice/muster.service
CPU=0.5 CPU_MAX="50000 100000" PIDS=20  # what the spec says now of each replica, and cpu.max for that

write_spec() {  # write_spec MEMORY
  cat >$SPEC.new <<SPEC
[app.web]
run      = "/opt/replica {port} one"
replicas = 2
listen   = "127.0.0.1:80"
health   = "/"
limits   = { memory = "$1", cpu = $CPU, pids = $PIDS }

[app.hog]
run      = "/opt/hog"
restart  = "never"
replicas = ${HOGS:-0}
limits   = { memory = "32MiB" }

[app.grower]
run      = "/opt/grower"
replicas = ${GROWERS:-0}
limits   = { memory = "32MiB" }
SPEC
  mv $SPEC.new $SPEC
}

group_of() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$1/cgroup")"; }
web() { cat $UNIT/muster-*/web-*/cgroup.procs 2>/dev/null | sort; }  # without a look at each process: the machine is slow
limit_is() {  # limit_is FILE TEXT: of both replicas
  local group count=0
  for group in $UNIT/muster-*/web-*; do
    [[ $(<"$group/$1") == "$2" ]] || return 1
    count=$((count + 1))
  done 2>/dev/null
  [[ $count == 2 ]]
}
enforced() {  # enforced BYTES: by the control group, of both
  [[ $(muster ps -o json | grep -o "\"memory\":{\"limit\":$1,\"enforced\":\"cgroup\"},\"cpu\":{\"limit\":$CPU,\"enforced\":\"cgroup\"},\"pids\":{\"limit\":$PIDS,\"enforced\":\"cgroup\"}" | wc -l) == 2 ]]
}
all_limits() {  # all_limits BYTES
  limit_is memory.max "$1" && limit_is memory.oom.group 1 && limit_is cpu.max "$CPU_MAX" && limit_is pids.max "$PIDS" && enforced "$1"
}

starts_with_limits() {
  write_spec 64MiB
  check "start returns when muster says READY" systemctl start muster.service
  check "both replicas answer" within 120 all_answer one
  check "every limit is the kernel's" all_limits 67108864
  check "swap is none" limit_is memory.swap.max 0
  check "the daemon is in its leaf" [ "$(group_of "$(main_pid)")" = $UNIT/muster.daemon ]
  check "nobody is in the unit's own group" [ -z "$(cat $UNIT/cgroup.procs)" ]
  check "memory is the group's, not a sum" eval '! muster ps -o json | grep -q "\"memory_over_counts\":true"'
  check "the daemon is protected" [ "$(cat "/proc/$(main_pid)/oom_score_adj")" = -500 ]
  check "a replica is not" [ "$(cat "/proc/$(web | head -n 1)/oom_score_adj")" = 0 ]
  check "doctor says so" eval '[[ $(muster doctor -o json | grep -o "\"check\":\"limit [a-z]*\",\"state\":\"ok\"" | wc -l) == 3 ]]'
}

hog_ended() { muster ps -o json | grep -q 'killed by the kernel: out of memory (limit 32MiB)'; }
ends_what_is_too_much() {
  local before
  before=$(web)
  HOGS=1 write_spec 64MiB
  systemctl reload muster.service
  check "the kernel ends who takes too much, and it is named" within 60 hog_ended
  check "why says so" eval 'muster why hog/0 | grep -q "killed by the kernel: out of memory (limit 32MiB)"'
  check "nobody else noticed" [ "$(web)" = "$before" ]
  write_spec 64MiB
  systemctl reload muster.service
}

# The kernel ends one that another daemon has started: whose end it is, and for whose limit, is known all the same.
grower_ended() { muster ps -o json | grep -q '"id":"grower/0".*"last_exit":{[^}]*killed by the kernel: out of memory (limit 32MiB)'; }
grower_runs() { muster ps -o json | grep -q '"id":"grower/0","ordinal":0,"revision":[0-9]*,"state":"ready"'; }
ends_what_was_taken_over() {
  local daemon pid
  GROWERS=1 write_spec 64MiB
  systemctl reload muster.service
  check "one that will grow runs" within 60 grower_runs
  daemon=$(main_pid) pid=$(pgrep_in /opt/grower | head -n 1)
  kill -KILL "$daemon"
  check "the service starts again" within 120 restarted "$daemon"
  check "with the one that will grow" eval 'within 60 grower_runs && [[ $(pgrep_in /opt/grower | head -n 1) == "$pid" ]]'
  check "its limit is the kernel's again" within 60 eval '[[ $(cat $UNIT/muster-*/grower-*/memory.max) == 33554432 ]]'
  touch /var/lib/muster/grow
  check "it grows, and is ended by the kernel" within 60 gone "$pid"
  check "ps has the reason of its last exit" within 60 grower_ended
  check "why names it" eval 'muster why grower/0 | grep -q "killed by the kernel: out of memory (limit 32MiB)"'
  check "it is started again" within 60 eval 'grower_runs && muster ps -o json | grep -q "\"id\":\"grower/0\".*\"restarts\":1"'
  write_spec 64MiB
  systemctl reload muster.service
}

# Somebody changes the limits behind muster's back, and muster dies.
restores_what_was_changed_by_hand() {
  local before daemon group
  before=$(web) daemon=$(main_pid)
  for group in $UNIT/muster-*/web-*; do
    echo max >"$group/memory.max"
    echo "90000 100000" >"$group/cpu.max"
    echo 7777 >"$group/pids.max"
  done
  check "limits are changed by hand" not all_limits 67108864
  kill -KILL "$daemon"
  check "the service starts again" within 120 restarted "$daemon"
  check "the replicas are those of before" [ "$(web)" = "$before" ]
  check "and every limit is the spec's again" within 60 all_limits 67108864
}

changes_live() {
  local before
  before=$(web)
  CPU=0.25 CPU_MAX="25000 100000" PIDS=30
  write_spec 96MiB
  check "an edit of memory, cpu and pids reloads" systemctl reload muster.service
  check "all three hold" within 20 all_limits 100663296
  check "for the same processes" [ "$(web)" = "$before" ]
}

# For ever 219/CGROUP, where the controllers stay on beside replicas that live on.
outlives_the_daemon() {  # outlives_the_daemon BYTES TIMES
  local before turn daemon
  before=$(web)
  for ((turn = 1; turn <= $2; ++turn)); do
    daemon=$(main_pid)
    kill -KILL "$daemon"
    check "kill $turn: the service starts again" within 120 restarted "$daemon"
    check "kill $turn: the replicas are those of before" [ "$(web)" = "$before" ]
    check "kill $turn: their limits are the kernel's again" within 60 all_limits "$1"
  done
  check "systemd never failed to put it into its group" not eval 'journal | grep -q 219/CGROUP'
}

is_upgraded() {
  local before daemon
  before=$(web) daemon=$(main_pid)
  check "upgrade" muster upgrade
  check "upgrade kept the process" [ "$(main_pid)" = "$daemon" ]
  check "upgrade kept replicas and limits" eval '[[ $(web) == "$before" ]] && within 20 all_limits 100663296'
}

restarts() {
  check "restart" systemctl restart muster.service
  check "after a restart every limit is the kernel's" within 60 all_limits 100663296
  check "stop" systemctl stop muster.service
  check "nothing is left of the unit's group" not test -e $UNIT
  check "start" systemctl start muster.service
  check "after stop and start every limit is the kernel's" within 60 all_limits 100663296
  systemctl stop muster.service
}

user() { runuser --user dev -- env XDG_RUNTIME_DIR=/run/user/1000 "$@"; }
user_has_limits() {
  user muster ps -f /home/dev/.config/muster/muster.toml -o json | grep -q '"memory":{"limit":67108864,"enforced":"cgroup"},"pids":{"limit":20,"enforced":"cgroup"}'
}
serves_a_user() {
  useradd --uid 1000 --create-home dev
  install -d -o dev /home/dev/.config /home/dev/.config/muster
  printf '[app.web]\nrun = "/opt/replica {port} mine"\nlisten = 8080\nhealth = "/"\nlimits = { memory = "64MiB", pids = 20 }\n' >/home/dev/.config/muster/muster.toml
  loginctl enable-linger dev
  check "the user's manager runs" within 60 test -S /run/user/1000/systemd/private
  check "the user's muster starts" user systemctl --user start muster.service
  check "its limits are the kernel's too" within 60 user_has_limits
  local daemon
  daemon=$(user systemctl --user show --property=MainPID --value muster.service)
  kill -KILL "$daemon"
  check "and again after a kill" within 90 eval '[[ $(user systemctl --user show --property=MainPID --value muster.service) != '"$daemon"' ]] && user_has_limits'
}

GET_SECONDS=30
install_muster
cat >/opt/hog <<'SCRIPT'
#!/bin/sh
sleep 0.2
x=$(head -c 100m /dev/zero | tr '\0' x)
sleep 1000
SCRIPT
cat >/opt/grower <<'SCRIPT'
#!/bin/sh
until [ -e /var/lib/muster/grow ]; do sleep 0.1; done
rm /var/lib/muster/grow
x=$(head -c 100m /dev/zero | tr '\0' x)
sleep 1000
SCRIPT
chmod 755 /opt/hog /opt/grower
printf '[Service]\nWatchdogSec=30s\nTimeoutStopSec=30s\n' >/etc/systemd/system/muster.service.d/fast.conf
systemctl daemon-reload
starts_with_limits
if [[ $FAILED == 1 ]]; then  # nothing below can hold then
  muster ps
  muster why web/0
  grep -H . $UNIT/cgroup.* $UNIT/muster-*/cgroup.* $UNIT/muster-*/web-*/{cgroup.procs,memory.max,memory.current,cpu.max,pids.max} 2>/dev/null
  finish
fi
outlives_the_daemon 67108864 1
ends_what_is_too_much
ends_what_was_taken_over
restores_what_was_changed_by_hand
changes_live
is_upgraded
outlives_the_daemon 100663296 2
restarts
serves_a_user
finish
