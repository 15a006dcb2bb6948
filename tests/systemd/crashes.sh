#!/bin/bash
# Runs as root inside the booted container: the service is killed 200 times, at the worst moments that chance finds. What
# it looks after must not notice: no second tenant, nobody left over, what is wanted runs within 10 s, no line of output
# is lost or doubled, and who got the number of an old process lives.
. /test/lib.sh

TIMES=${TIMES:-200}
RECEIPTS=/var/lib/muster/receipts
LOGS=/var/log/muster
RANDOM=2 # the seed
WEB='' DB=''

write_spec() {
  cat >"$SPEC.new" <<SPEC
[app.web]
run      = "/opt/replica {port} text"
replicas = 3
listen   = "127.0.0.1:80"
health   = { http = "/", every = "200ms" }
restart  = { backoff = "20ms", max_backoff = "500ms" }
$WEB

[app.db]
run      = "/opt/replica tenant {volume} $RECEIPTS"
replicas = 2
volume   = "data"
log      = { rotate = "16KiB", keep = 1000 }
restart  = { backoff = "20ms", max_backoff = "500ms" }
$DB
SPEC
  mv "$SPEC.new" "$SPEC"
}

disturb() {  # disturb TURN: something that starts, ends or replaces processes, or moves files; nobody waits for it
  local pids
  case $((RANDOM % 7)) in
    0) WEB="env = { TURN = \"$1\" }" && write_spec && muster reload --no-wait ;;
    1) DB="env = { TURN = \"$1\" }" && write_spec && muster reload --no-wait ;;
    2) muster scale web=$((RANDOM % 4 + 1)) --no-wait ;;
    3) muster restart "$( ((RANDOM % 2)) && echo web || echo db)" --no-wait ;;
    4) muster "$( ((RANDOM % 2)) && echo stop || echo start)" db --no-wait ;;
    5) kill -USR1 "$(main_pid)" ;;
    6) mapfile -t pids < <(replicas) && kill -KILL "${pids[RANDOM % ${#pids[@]}]}" ;;
  esac >/dev/null 2>&1
}

# Of an app's row: "web ready 3/3"; of a replica's that runs: "web/0 ready PID".
settled() {
  local id state third told='' whole=1
  while read -r id state third _; do
    case $id in
      web | db) [[ $state == stopped || ($state == ready && ${third%/*} == "${third#*/}") ]] || whole=0 ;;
      web/* | db/*) if [[ $state == ready ]]; then told+=$third$'\n'; fi ;;
    esac
  done < <(muster ps 2>/dev/null || echo "web none")
  [[ $whole == 1 && $(sort <<<"${told%$'\n'}") == "$(replicas | sort)" ]]
}

give_a_number_to() {  # give_a_number_to PID: a replica's record says it while no daemon lives
  local marks mark pid line
  marks=(/var/lib/muster/replicas/*.mark)
  mark=${marks[RANDOM % ${#marks[@]}]}
  [[ -e $mark ]] || return
  line=$(<"$mark")
  pid=$(sed -E 's/.*"pid":([0-9]+).*/\1/' <<<"$line")
  kill -KILL "$pid" 2>/dev/null
  printf '%-255s\n' "$(sed -E "s/\"pid\":[0-9]+/\"pid\":$1/; s/ +$//" <<<"$line")" >"$mark"
}

started_anew() { [[ $(main_pid) != 0 && $(main_pid) != "$1" && $(property SubState) == running ]]; }

crash() {  # crash STRANGER
  local before
  before=$(main_pid)
  kill -KILL "$before"
  if ((RANDOM % 8 == 0)); then give_a_number_to "$1"; fi  # before the manager's RestartSec is over
  within 20 started_anew "$before"
}

# Every line is there once and in order; a process counts a line before it prints it.
no_line_is_lost() {
  local receipt name counted there wrong=0
  for receipt in "$RECEIPTS"/*-*; do
    name=${receipt##*/}
    counted=$(<"$receipt")
    # The files of an ordinal, the oldest first.
    there=$(ls -v -r $LOGS/db-*.log* | xargs cat | sed -n "s/.* out $name line //p")
    if [[ $there != "$(seq "$(wc -w <<<"$there")")" ]]; then
      echo "lines of $name are lost or doubled: $(diff <(echo "$there") <(seq "$counted") | head -n 3 | tr '\n' ' ')"
      wrong=1
    fi
    if (($(wc -w <<<"$there") < counted - 1)); then
      echo "$name has printed $counted lines, and $(wc -w <<<"$there") are there"
      wrong=1
    fi
  done
  return $wrong
}

install_muster
printf '[Service]\nRestartSec=100ms\n' >/etc/systemd/system/muster.service.d/soon.conf
systemctl daemon-reload
install -d -o muster "$RECEIPTS"
write_spec
check "start" systemctl start muster.service
check "all replicas run" within 20 settled
sleep 100000 &
STRANGER=$!
slowest=0
for ((turn = 1; turn <= TIMES && FAILED == 0; ++turn)); do
  disturb $turn
  read -r -t "0.$((RANDOM % 3))$((RANDOM % 10))" <> <(:)
  began=${EPOCHREALTIME/./}
  crash $STRANGER || fail "turn $turn: the manager has started it again"
  within 10 settled || { fail "turn $turn: what is wanted, and nobody else, runs within 10 s"; muster ps; replicas; }
  took=$(((${EPOCHREALTIME/./} - began) / 1000))
  ((took > slowest)) && slowest=$took
  [[ ! -e $RECEIPTS/clashes ]] || fail "turn $turn: two tenants: $(<"$RECEIPTS/clashes")"
  kill -0 $STRANGER || fail "turn $turn: whoever has the number of a replica now was killed"
done
echo "$((turn - 1)) crashes: settled again within $slowest ms"
check "stop returns 0" systemctl stop muster.service
check "stop leaves no replica" [ -z "$(replicas)" ]
kill $STRANGER
check "no line of $(cat $LOGS/db-*.log* | wc -l) is lost or there twice" no_line_is_lost
finish
