#!/bin/bash
# Runs as root inside the booted container: certificates, keys and env_files as credentials of the service,
# LoadCredential= of systemd.exec(5). Prints one line per check; the journal follows when one failed. Exit 0 when all hold.
. /test/lib.sh

SECRETS=/etc/muster/secrets
GIVEN=/run/credentials/muster.service
DROP_INS=/etc/systemd/system/muster.service.d

write_spec() {
  cat >$SPEC <<'TOML'
[listen.front]
bind = "127.0.0.1:443"
to   = "web"
tls  = { cert = "${CREDENTIALS_DIRECTORY}/site.pem", key = "${CREDENTIALS_DIRECTORY}/site.key" }

[app.web]
run         = "/opt/replica {port} one"
replicas    = 2
health      = "/"
env_file    = "${CREDENTIALS_DIRECTORY}/web.env"
inherit_env = true
TOML
  if [[ -n ${RUN_AS:-} ]]; then echo "user = \"$RUN_AS\"" >>$SPEC; fi
}

make_certificate() {  # make_certificate NAME: which root alone can read
  printf '[req]\ndistinguished_name = name\n[name]\n' >/root/openssl.cnf  # the machine has none
  /opt/openssl req -config /root/openssl.cnf -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" -addext "subjectAltName=DNS:$1" \
    -keyout $SECRETS/site.key -out $SECRETS/site.pem 2>/root/openssl || cat /root/openssl
  chmod 600 $SECRETS/site.key $SECRETS/site.pem
}
# Whom the listener says it is, proven by the certificate of $SECRETS; and what it answers.
ask() {
  printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
    timeout 10 /opt/openssl s_client -connect 127.0.0.1:443 -servername "$1" -verify_hostname "$1" -CAfile $SECRETS/site.pem \
      -verify_return_error -quiet -ign_eof 2>/dev/null | tail -n 1
}
is_served_as() { [[ $(ask "$1") == *" one "* ]]; }
of_environment() { tr '\0' '\n' 2>/dev/null <"/proc/$2/environ" | sed -n "s/^$1=//p"; }  # of_environment NAME PID
both_have() {  # both_have TEXT: in what the env_file says
  local pid count=0
  for pid in $(replicas); do
    [[ $(of_environment WORD "$pid") == "$1" ]] || return 1
    count=$((count + 1))
  done
  [[ $count == 2 ]]
}
no_replica_is_told() {
  local pid
  for pid in $(replicas); do
    if tr '\0' '\n' <"/proc/$pid/environ" | grep -E '^CREDENTIALS_DIRECTORY=|/run/credentials'; then return 1; fi
  done
}

gives_files() {
  check "start" systemctl start muster.service
  check "the manager gave them to muster" [ "$(of_environment CREDENTIALS_DIRECTORY "$(main_pid)")" = $GIVEN ]
  check "who runs it could not read where they come from" not runuser --user muster -- test -r $SECRETS/site.key
  check "https with the certificate and its key" within 30 is_served_as first.test
  check "the env_file's words are the replicas'" both_have before
  check "where credentials are is not passed on, though the environment is" no_replica_is_told
  check "ps shows no error of the spec" eval 'muster ps -o json | grep -q "\"error\":null"'
  check "the key's modes are found well" not eval 'journal | grep -i "private key"'
}

lets_one_app_have_them() {
  cat >>$SPEC <<'TOML'
[app.reader]
run         = "/opt/replica {port} reads"
health      = "tcp"
inherit_env = ["CREDENTIALS_DIRECTORY"]
TOML
  check "reload" systemctl reload muster.service
  check "an app that names the variable has it" within 30 eval '[[ $(of_environment CREDENTIALS_DIRECTORY "$(pgrep_in " reads ")") == $GIVEN ]]'
  write_spec
  systemctl reload muster.service
  check "and is gone" within 30 eval '[[ -z $(pgrep_in " reads ") ]]'
}

keeps_them() {
  local before daemon
  before=$(replicas) daemon=$(main_pid)
  kill -KILL "$daemon"
  check "killed: another one runs" within 60 restarted "$daemon"
  check "killed: https goes on" within 30 is_served_as first.test
  check "killed: the same replicas, for their env_file is the same" eval '[[ $(replicas) == "$before" ]] && muster plan >/dev/null'
  check "upgrade" muster upgrade
  check "upgraded: https goes on" within 30 is_served_as first.test
  check "reload" systemctl reload muster.service
  check "reloaded: https goes on" within 30 is_served_as first.test
  check "the replicas are those of before" [ "$(replicas)" = "$before" ]
}

# The manager reads them at a start, and never again for a service that runs.
takes_new_ones() {
  make_certificate second.test
  echo 'WORD=after' >$SECRETS/web.env
  check "restart" systemctl restart muster.service
  check "the new certificate is served" within 30 is_served_as second.test
  check "the new words are the replicas'" both_have after
}

refuses_what_is_missing() {
  systemctl stop muster.service
  check "when it has ended, nothing of them is there" not test -e $GIVEN
  mv $DROP_INS/credentials.conf /root/
  systemctl daemon-reload
  check "without credentials the start fails" not systemctl start muster.service
  check "with 65, and is not tried again" [ "$(property ExecMainStatus)/$(property NRestarts)" = 65/0 ]
  check "and says which variable is not set" eval 'journal | grep -q CREDENTIALS_DIRECTORY'
  systemctl reset-failed muster.service
  mv /root/credentials.conf $DROP_INS/
  systemctl daemon-reload
}

serves_as_root() {
  cp /usr/share/doc/muster/examples/systemd/root.conf $DROP_INS/
  systemctl daemon-reload
  RUN_AS=nobody write_spec
  check "start as root" systemctl start muster.service
  check "as root: https" within 30 is_served_as second.test
  check "as root: the app's user is another" runs_as nobody "$(replicas | head -n 1)"
  check "as root: it has the env_file's words" both_have after
  check "as root: it is not told where they are" no_replica_is_told
  check "as root: the app's user cannot read them" not runuser --user nobody -- test -r $GIVEN/site.key
  systemctl stop muster.service
}

install_muster
install -d -m 700 $SECRETS
make_certificate first.test
echo 'WORD=before' >$SECRETS/web.env
cat >$DROP_INS/credentials.conf <<UNIT
[Service]
LoadCredential=site.pem:$SECRETS/site.pem
LoadCredential=site.key:$SECRETS/site.key
LoadCredential=web.env:$SECRETS/web.env
UNIT
printf '[Service]\nWatchdogSec=30s\nTimeoutStopSec=30s\n' >$DROP_INS/fast.conf
systemctl daemon-reload
write_spec
for part in gives_files lets_one_app_have_them keeps_them takes_new_ones refuses_what_is_missing serves_as_root; do
  echo "-- $part"
  $part
  if [[ $part == gives_files && $FAILED == 1 ]]; then break; fi # everything after it builds on a running service
done
finish
