#!/usr/bin/env python3
"""`plan` shows what the file would change, `apply --plan` does that and nothing else."""
import json
import os
import sys

from lib.expect import check, contains, equal
from lib.procs import environment
from lib.scenario import main, scenario
from lib.stack import Stack

WEB = """
[app.web]
run      = "<REPLICA> {port} text=one"
replicas = 4
listen   = "127.0.0.1:<L0>"
health   = "/healthz"
"""


def plan(stack: Stack, code: int) -> dict:
    return json.loads(stack.run("plan", "-o", "json", code=code).stdout)


@scenario
def plan_then_apply() -> None:
    """Nothing to do: 0; an edit: 2 and an id that `apply` takes once, and refuses when something has changed."""
    with Stack() as stack:
        stack.write(WEB)
        stack.daemon()
        stack.ready()
        before = stack.pids()
        contains(stack.run("plan").stdout, "nothing to do", "plan of what runs")
        stack.edit("text=one", "text=two")
        shown = stack.run("plan", code=2).stdout
        contains(shown, ["~ web: revision 1 -> 2", "text=one", "text=two", "(new revision)", "4 to replace, rolling: surge 1, unavailable 1",
                         "never fewer than 4 of 4 ready", "replace  web/3", "muster apply --plan "], "plan of a new revision")
        equal(stack.pids(), before, "pids after a plan")
        made = plan(stack, 2)
        equal(len(made["apps"][0]["replicas"]), 4, "replicas of the plan")
        equal(made["id"], plan(stack, 2)["id"], "the id of the same plan")
        stack.edit("replicas = 4", "replicas = 3")
        stale = stack.run("apply", "--plan", made["id"], code=1).stderr
        contains(stale, [made["id"], "is stale", "muster plan"], "apply of a plan that is not of this file")
        equal(stack.pids(), before, "pids after a stale plan")
        fresh = plan(stack, 2)
        contains(fresh["summary"], ["3 to replace", "1 to stop"], "summary")
        stack.run("apply", "--plan", fresh["id"])
        after = stack.pids()
        equal(sorted(after), ["web/0", "web/1", "web/2"], "replicas after apply")
        check(not set(after.values()) & set(before.values()), "an old process runs")
        equal(plan(stack, 0)["summary"], "nothing to do", "a plan after apply")
        stack.run("apply", "--plan", fresh["id"], code=1)
        stack.run("apply")
        equal(stack.pids(), after, "pids after a second apply")
        stack.run("scale", "web=5")
        held = stack.run("plan").stdout
        contains(held, "held: scaled to 5 by hand, the file says 3", "plan with a hold")
        stack.edit('health   = "/healthz"', 'health   = { http = "/healthz", every = "3s" }')
        contains(stack.run("plan", code=2).stdout, ["health.every", "(live)", "no process is touched"], "plan of a live key")
        stack.write("[app.web]\nrun = \n")
        contains(stack.run("plan", code=65).stderr, ["muster.toml:2", "error"], "plan of a broken file")
        contains(stack.run("plan", "--offline", code=65).stderr, "muster.toml:2", "offline plan of a broken file")


@scenario
def plan_without_a_daemon() -> None:
    with Stack() as stack:
        stack.write(WEB)
        contains(stack.run("plan", code=69).stderr, ".sock", "plan without a daemon")
        shown = stack.run("plan", "--offline", code=2).stdout
        contains(shown, ["+ web: 4 replicas", "start    web/0", "+ listener web: 127.0.0.1:", "4 to start"], "offline plan")
        check("--plan" not in shown, "an offline plan cannot be applied")


@scenario
def plan_of_an_environment() -> None:
    """env_file loses one variable and changes one: the plan says so, one roll, /proc agrees; secrets are masked; touch is nothing."""
    with Stack() as stack:
        (stack.folder / "web.env").write_text("LEVEL=1\nCOLOUR=red\nAPI_TOKEN=hunter2\n")
        stack.write(WEB + 'env_file = "web.env"\n')
        stack.daemon()
        stack.ready()
        before = stack.pids()
        os.utime(stack.folder / "web.env")
        stack.run("plan")
        stack.run("apply")
        equal(stack.pids(), before, "pids after a touch")
        (stack.folder / "web.env").write_text("# new\nCOLOUR=blue\nAPI_TOKEN=hunter3\n")
        shown = stack.run("plan", code=2).stdout
        contains(shown, ["env_file.COLOUR", "red -> blue", "env_file.LEVEL", "1 -> (not set)", "env_file.API_TOKEN", "******** -> ********",
                         "4 to replace"], "plan of an env_file")
        check("hunter" not in shown + json.dumps(plan(stack, 2)), "a secret is shown")
        stack.run("apply")
        after = stack.pids()
        check(not set(after.values()) & set(before.values()), "an old process runs")
        for pid in after.values():
            found = environment(pid)
            equal((found.get("COLOUR"), found.get("LEVEL"), found.get("API_TOKEN")), ("blue", None, "hunter3"), f"environment of {pid}")
        equal(len([e for e in stack.events(app="web") if e["kind"] == "starting"]), 8, "starts")


@scenario
def plan_of_a_release_that_failed() -> None:
    with Stack() as stack:
        stack.write(WEB + 'update = { deadline = "1s" }\n')
        stack.daemon()
        stack.ready()
        stack.edit("text=one", "text=two start=600000")
        stack.run("apply", code=1)
        stack.ready("web")
        for _ in range(2):
            contains(stack.run("plan", code=2).stdout, ["revision 2 failed", "apply --retry", "not tried again"], "plan after a rollback")


if __name__ == "__main__":
    sys.exit(main())
