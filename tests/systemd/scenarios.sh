#!/bin/bash
# Runs as root inside the booted machine: scenarios of tests/e2e that want what its kernel has and most build machines do
# not, quotas of projects and controllers of control groups. A scenario that skips itself here has failed.
. /test/lib.sh

# Delegate=yes and a group for the daemons of the scenario beside the scenario itself: what a unit of theirs would have.
cat >/opt/in-groups <<'SCRIPT'
#!/bin/bash
set -e
GROUP=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
mkdir "$GROUP/scenario" "$GROUP/daemons"
echo $$ >"$GROUP/scenario/cgroup.procs"
for group in "$GROUP" "$GROUP/daemons"; do echo "+cpu +memory +pids" >"$group/cgroup.subtree_control"; done
E2E_GROUP=$GROUP/daemons exec python3 -B "$@"
SCRIPT
chmod 755 /opt/in-groups

scenario() {  # scenario FILE NAME…
  local file=$1 name begin code
  shift
  for name in "$@"; do
    begin=$SECONDS
    systemd-run --quiet --wait --pipe --property=Delegate=yes --property=LimitCORE=0 /opt/in-groups \
      "/test/e2e/$file.py" /usr/bin/muster /test/e2e_replica "$name" </dev/null
    code=$?
    check "$name, $((SECONDS - begin)) s (exit code $code)" [ $code = 0 ]
  done
}

cp -r --no-preserve=ownership /test/payload/. /
scenario volumes a_size_is_enforced_by_a_project_quota
scenario limits memory_over_its_limit too_many_processes a_hot_loop_has_no_more_than_its_cpu a_fork_bomb_stays_in_its_app limits_change_live limits_of_jobs
finish
