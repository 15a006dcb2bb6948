#!/bin/bash
# Runs as root inside the machine at each of its boots: what muster remembers over an orderly reboot and over a power cut.
# Prints one line per check; the journal follows when one failed. Exit 0 when all hold.
. /test/lib.sh
GET_SECONDS=60

STAGE=/root/stage  # how many boots there have been
TOLD=/root/told    # what they printed
USER_SPEC=/home/dev/.config/muster/muster.toml

write_spec() {
  cat >$SPEC <<SPEC
[app.web]
run      = "/opt/replica {port} one"
replicas = 3
listen   = "127.0.0.1:80"
health   = "/"

[app.db]
run      = "/opt/database {port} {volume}"
replicas = 3
port     = 5440
volume   = "data"

[app.worker]
run      = "/opt/replica {port} works"

[app.idle]
run      = "/opt/replica {port} idles"
SPEC
}

# Answers with what it found in its volume, which only the first one ever there wrote.
write_programs() {
  cat >/opt/database <<'SH'
#!/bin/sh
[ -s "$2/mine" ] || { cat /proc/sys/kernel/random/uuid >"$2/new" && sync && mv "$2/new" "$2/mine"; }
exec /opt/replica "$1" "$(cat "$2/mine")"
SH
  # Before muster at a boot: processes that have the numbers of the replicas of the boot before. What muster wrote down of
  # those replicas says their start times too, so that nothing but the boot tells them apart.
  cat >/opt/strangers <<'SH'
#!/bin/bash
for mark in /var/lib/muster/replicas/*.mark; do
  line=$(<"$mark")
  setsid /opt/stranger &
  ticks=$(sed 's/.*) //' /proc/$!/stat | cut -d' ' -f20)
  printf '%-255s\n' "$(sed -E "s/\"pid\":[0-9]+/\"pid\":$!/; s/\"ticks\":[0-9]+/\"ticks\":$ticks/; s/ +$//" <<<"$line")" >"$mark"
  echo $!
done >/root/strangers
SH
  printf '#!/bin/sh\nwhile :; do sleep 100000; done\n' >/opt/stranger
  chmod 755 /opt/database /opt/strangers /opt/stranger
  cat >/etc/systemd/system/strangers.service <<'UNIT'
[Unit]
Before=muster.service
After=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/strangers
[Install]
WantedBy=multi-user.target
UNIT
}

found() { for port in 5440 5441 5442; do get $port | cut -d' ' -f1,2; done; }  # by ordinal, what the volumes hold
same_volumes() { [[ $(found) == "$(</root/volumes)" ]]; }
hold_of() { muster ps -o json | grep -o "{\"name\":\"$1\",\"desired\"[^[]*" | sed -n 's/.*"hold":\("[^"]*"\|null\).*/\1/p'; }
ready_is() { muster ps -o json | grep -q "{\"name\":\"$1\",\"desired\":$2,\"ready\":$2,"; }  # ready_is APP COUNT
of_app() { pgrep_in "^/opt/replica [0-9]* $1"; }
runs() { [[ $(of_app "$1" | wc -l) == "$2" ]]; }  # runs TEXT COUNT
who_has_traffic() { for _ in 1 2 3 4 5 6 7 8 9; do get; done | cut -d' ' -f1 | sort -u | tr '\n' ' '; }
has_traffic() { [[ $(who_has_traffic) == "$1" ]]; }
takes_nobody_over() { not eval 'journalctl --boot --unit=muster.service --output=cat | grep -iE "took over|takes over|adopt"'; }

# What was said up to here is on disk, and that this boot is over.
end_stage() {
  if [[ $FAILED == 1 ]]; then finish; fi
  cat /proc/sys/kernel/random/boot_id >/root/boot
  echo $(($(cat $STAGE 2>/dev/null || echo 0) + 1)) >$STAGE
  within 10 grep -q "^-- end of boot $(<$STAGE)" /test/out/log || fail "the log is written"
  cp /test/out/log $TOLD
  sync
}
is_another_boot() { [[ $(</root/boot) != "$(</proc/sys/kernel/random/boot_id)" ]]; }

first_boot() {
  install_muster
  printf '[Service]\nTimeoutStartSec=5min\nWatchdogSec=30s\nTimeoutStopSec=30s\n' >/etc/systemd/system/muster.service.d/fast.conf
  systemctl daemon-reload
  write_programs
  write_spec
  check "enabled and started" systemctl enable --now muster.service
  check "web is ready" within 120 ready_is web 3
  check "db is ready" within 120 ready_is db 3
  check "idle is ready" within 120 ready_is idle 1
  found >/root/volumes
  check "three volumes, each with its own data" [ "$(cut -d' ' -f2 /root/volumes | sort -u | wc -l)" = 3 ]
  check "an app is stopped by hand" muster stop idle
  check "another is scaled by hand" muster scale worker=3
  check "a replica is drained by hand" muster drain web/2
  check "it gets no requests" within 60 has_traffic "web/0 web/1 "
  useradd --uid 1000 --create-home dev
  install -d -o dev /home/dev/.config /home/dev/.config/muster
  printf '[app.web]\nrun = "/opt/replica {port} mine"\nlisten = 8080\nhealth = "/"\n' >$USER_SPEC
  loginctl enable-linger dev
  check "a user's manager runs" within 120 test -S /run/user/1000/systemd/private
  check "the user's muster is enabled and started" runuser --user dev -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user enable --now muster.service
  check "it answers" within 30 answers_with mine 8080
  echo "-- end of boot 1: an orderly one follows"
  end_stage
  systemctl reboot
}

second_boot() {
  check "it is another boot" is_another_boot
  check "muster runs unasked" within 120 eval '[[ $(property ActiveState) == active ]]'
  check "web is ready, but for the one that was drained" within 120 has_traffic "web/0 web/1 "
  check "which is told" eval 'muster ps | grep "^ *web/2" | grep -q drain'
  check "each replica of db has found its volume by its ordinal" within 120 same_volumes
  check "who was stopped by hand is stopped" eval 'runs idles 0 && [[ $(hold_of idle) == \"stopped* ]]'
  check "who was scaled by hand still is" eval 'within 120 runs works 3 && [[ $(hold_of worker) == \"scaled\ to\ 3* ]]'
  check "nobody was taken over" takes_nobody_over
  check "the user's muster runs without a login" within 120 answers_with mine 8080
  check "start ends a hold" muster start idle
  check "scale to what the file says ends another" muster scale worker=file
  check "undrain" muster undrain web/2
  check "all three have requests" within 60 has_traffic "web/0 web/1 web/2 "
  systemctl enable --quiet strangers.service
  echo "-- end of boot 2: a power cut follows"
  end_stage
  # From here on nothing is synced but by muster itself.
  muster stop worker && muster scale web=2 && echo b >/proc/sysrq-trigger
  echo "FAIL  the holds before the power cut" >>$TOLD
  sync
  systemctl reboot --force --force
}

third_boot() {
  check "it is another boot" is_another_boot
  check "muster runs unasked" within 120 eval '[[ $(property ActiveState) == active ]]'
  check "web is as it was scaled in the last moment" within 120 eval 'ready_is web 2 && runs one 2 && [[ $(hold_of web) == \"scaled\ to\ 2* ]]'
  check "worker is stopped as it was in the last moment" eval 'runs works 0 && [[ $(hold_of worker) == \"stopped* ]]'
  check "who was started again runs, and is held no more" eval 'within 120 ready_is idle 1 && [[ $(hold_of idle) == null ]]'
  check "each replica of db has found its volume by its ordinal" within 120 same_volumes
  check "strangers had the numbers of replicas of the boot before ($(wc -l </root/strangers))" [ "$(wc -l </root/strangers)" -ge 7 ]
  check "all of them live" [ "$(pgrep_in '/opt/stranger$' | sort)" = "$(sort /root/strangers)" ]
  check "ps knows none of them" not eval 'for pid in $(</root/strangers); do muster ps -o json | grep "\"pid\":$pid,"; done | grep .'
  check "nobody was taken over" takes_nobody_over
  check "the user's muster runs without a login" within 120 answers_with mine 8080
  check "stop" systemctl stop muster.service
  check "the strangers live on" [ "$(pgrep_in '/opt/stranger$' | sort)" = "$(sort /root/strangers)" ]
}

if [[ -e $TOLD ]]; then cat $TOLD; fi
if grep -q '^FAIL' $TOLD 2>/dev/null; then FAILED=1; fi
case $(cat $STAGE 2>/dev/null || echo 0) in
  0) first_boot ;;
  1) second_boot ;;
  2) third_boot
    finish ;;
  *) fail "the machine was booted more often than it was asked to"
    finish ;;
esac
sleep 1000 & wait  # for the machine to go down
