#!/bin/bash
# Runs as root inside the booted container: installs muster and checks it as a service. Prints one line per check; the
# journal follows when one failed. Exit 0 when all hold.
. /test/lib.sh

write_spec() {  # write_spec TEXT
  cat >$SPEC <<SPEC
[app.web]
run      = "/opt/replica {port} $1 --leave-behind"
replicas = 2
listen   = "127.0.0.1:80"
health   = "/"
after    = ["db"]
stop     = { drain = "1s", timeout = "1s" }

[app.db]
run    = "/opt/replica {port} data"
port   = 5440
volume = "data"
SPEC
}

starts() {
  write_spec one
  check "start returns when muster says READY" systemctl start muster.service
  check "active" [ "$(property ActiveState)" = active ]
  check "runs as user muster" runs_as muster "$(main_pid)"
  check "both replicas answer on port 80, bound by the ambient capability" within 20 all_answer one
  check "the control socket answers root" muster ps
  check "state, logs and volume are where the FHS wants them" \
    eval '[[ -d /var/lib/muster/volumes/db/0/data && -e /var/log/muster/db-0.log && -S /run/muster/muster.sock ]]'
}

replicas_are_clean() {
  local pid environment
  pid=$(pgrep_in '^/opt/replica 5440' | head -n 1)
  environment=$(tr '\0' '\n' <"/proc/$pid/environ")
  check "a replica has no ambient capability" grep -qE '^CapAmb:\s+0+$' "/proc/$pid/status"
  check "a replica's oom_score_adj is 0" [ "$(cat "/proc/$pid/oom_score_adj")" = 0 ]
  check "a replica has the usual soft limit of files" grep -qE '^Max open files +1024 ' "/proc/$pid/limits"
  check "a replica sees neither NOTIFY_SOCKET nor WATCHDOG" eval '[[ $environment != *NOTIFY_SOCKET* && $environment != *WATCHDOG* ]]'
}

reloads() {
  local before db
  before=$(main_pid)
  db=$(pgrep_in '^/opt/replica 5440')
  write_spec two
  check "reload returns 0" systemctl reload muster.service
  check "the edited app answers with its new text" within 30 all_answer two
  check "reload kept the process" [ "$(main_pid)" = "$before" ]
  check "reload kept the app that was not edited" [ "$(pgrep_in '^/opt/replica 5440')" = "$db" ]
  echo 'broken = [' >>$SPEC
  check "reload of a broken spec fails" not systemctl reload muster.service
  check "a broken spec changes nothing" all_answer two
  check "a broken spec leaves the service active" [ "$(property ActiveState)" = active ]
  write_spec two
}

writes_the_journal() {
  local found
  found=$(priorities "$(main_pid)")
  check "the journal has muster's lines" eval 'journal | grep -q web'
  check "the journal has lines of priority info" eval '[[ $found == *\"6\"* ]]'
  check "the refused spec is a warning or an error there" eval '[[ $found == *\"3\"* || $found == *\"4\"* ]]'
  check "no priority prefix is left in a line" not eval 'journal | grep -qE "^<[0-7]>"'
}

# running PID…: all of them.
running() { local pid; for pid in "$@"; do if gone "$pid"; then return 1; fi; done; }
survives_a_hang() {
  local before restarts old
  before=$(main_pid) restarts=$(property NRestarts)
  mapfile -t old < <(replicas)
  kill -STOP "$before"
  check "a hung daemon is restarted by the watchdog" within 40 eval '[[ $(property NRestarts) -gt $restarts && $(main_pid) != 0 ]]'
  check "the watchdog is named in the journal" eval 'journal | grep -qi "watchdog timeout"'
  check "after the watchdog both replicas answer" within 20 all_answer two
  check "after the watchdog the replicas are those of before" running "${old[@]}"
  check "and there are no others" [ "$(replicas | wc -l)" = "${#old[@]}" ]
}

# The output of web/0, web/1 and db/0, two descriptors each.
stores_six() { [[ $(property NFileDescriptorStore) == 6 ]]; }
survives_a_kill() {
  local before old
  check "the manager holds the output of all replicas" within 20 stores_six
  before=$(main_pid)
  mapfile -t old < <(replicas)
  check "there are replicas and their strays before the kill" [ "${#old[@]}" -ge 5 ]
  kill -KILL "$before"
  check "a killed daemon is restarted" within 20 eval '[[ $(main_pid) != 0 && $(main_pid) != $before ]]'
  check "after the kill both replicas answer" within 20 all_answer two
  check "after the kill the manager holds the output of the replicas alone" within 20 stores_six
  check "no keeper runs beside the manager's store" [ -z "$(pgrep_in 'output-keeper')" ]
  check "after the kill the replicas and their strays are those of before" running "${old[@]}"
  check "and there are no others after the kill" [ "$(replicas | wc -l)" = "${#old[@]}" ]
}

# One that hangs while it is to stop is killed by the manager, which then ends what it left.
stops_when_hung() {
  local old
  systemctl start muster.service
  check "it starts again" within 20 all_answer two
  mapfile -t old < <(replicas)
  local hung
  hung=$(main_pid)
  while kill -STOP "$hung" 2>/dev/null; do :; done &  # again and again: the manager's SIGTERM comes with SIGCONT
  timeout 60 systemctl stop muster.service
  wait $!
  check "the stop timed out ($(property Result))" [ "$(property Result)" = timeout ]
  check "a stop that timed out leaves no replica and no stray" gone "${old[@]}"
  check "nobody runs as muster after it" [ -z "$(processes_of muster)" ]
  systemctl reset-failed muster.service
}

stops() {
  local old web db
  mapfile -t old < <(replicas)
  check "stop returns 0" systemctl stop muster.service
  check "inactive, not failed" [ "$(property ActiveState)/$(property Result)" = inactive/success ]
  check "stop leaves no replica and no stray" gone "${old[@]}"
  check "nobody runs as muster any more" [ -z "$(processes_of muster)" ]
  check "the port is closed" [ -z "$(get)" ]
  web=$(grep -h ' out stopping' /var/log/muster/web-*.log | tail -n 1 | cut -d' ' -f1)
  db=$(grep -h ' out stopping' /var/log/muster/db-0.log | tail -n 1 | cut -d' ' -f1)
  check "web, which comes after db, stopped before it ($web, $db)" eval '[[ -n $web && $web < $db ]]'
  check "the volume is kept" [ -d /var/lib/muster/volumes/db/0/data ]
}

refuses_a_bad_spec() {
  echo 'nonsense' >$SPEC
  check "start with a broken spec fails" not systemctl start muster.service
  check "it ends with 65 and is not tried again" [ "$(property ExecMainStatus)/$(property NRestarts)" = 65/0 ]
  rm $SPEC
  systemctl reset-failed muster.service
  check "start without a spec fails" not systemctl start muster.service
  check "it ends with 66 and is not tried again" [ "$(property ExecMainStatus)/$(property NRestarts)" = 66/0 ]
  systemctl reset-failed muster.service
}

runs_apps_as_others() {
  cp /usr/share/doc/muster/examples/systemd/root.conf /etc/systemd/system/muster.service.d/
  systemctl daemon-reload
  printf '[app.web]\nrun = "/opt/replica {port} asuser"\nuser = "nobody"\nlisten = 80\nhealth = "/"\n' >$SPEC
  check "start as root with the drop-in" systemctl start muster.service
  check "the app of user nobody answers" within 20 answers_with asuser
  check "it runs as nobody" runs_as nobody "$(replicas | head -n 1)"
  systemctl stop muster.service
  rm /etc/systemd/system/muster.service.d/root.conf
  systemctl daemon-reload
}

user() { runuser --user dev -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user "$@"; }
serves_a_user() {
  local old
  useradd --uid 1000 --create-home dev
  install -d -o dev /home/dev/.config /home/dev/.config/muster
  printf '[app.web]\nrun = "/opt/replica {port} mine"\nlisten = 8080\nhealth = "/"\n' >/home/dev/.config/muster/muster.toml
  check "a user manager starts" systemctl start user@1000.service
  check "the user unit starts" user start muster.service
  check "the user's replica answers" within 20 answers_with mine 8080
  old=$(replicas)
  kill -KILL "$(user show --property=MainPID --value muster.service)"
  check "a killed daemon of a user goes on with its replica" within 20 eval '[[ $(user show --property=NRestarts --value muster.service) == 1 ]]'
  check "the user's replica answers again" within 20 answers_with mine 8080
  check "it is the same one" [ "$(replicas)" = "$old" ]
  sed -i 's/mine/edited/' /home/dev/.config/muster/muster.toml
  check "the user unit reloads" user reload muster.service
  check "the user's replica was replaced" within 20 answers_with edited 8080
  check "the user unit stops" user stop muster.service
  check "nothing of it is left" [ -z "$(replicas)" ]
}

install_muster
for part in starts replicas_are_clean reloads writes_the_journal survives_a_hang survives_a_kill stops stops_when_hung refuses_a_bad_spec \
  runs_apps_as_others serves_a_user; do
  echo "-- $part"
  $part
  if [[ $part == starts && $FAILED == 1 ]]; then break; fi # everything after it builds on a running service
done
finish
