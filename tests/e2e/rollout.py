#!/usr/bin/env python3
"""Releases that are no good: they go back by themselves, and by hand."""
import concurrent.futures
import json
import sys

from lib.expect import check, contains, equal, wait_for
from lib.http import get
from lib.load import Load
from lib.scenario import main, scenario
from lib.stack import Stack

WEB = """
[app.web]
run      = "<REPLICA> {port} text=one"
replicas = 4
listen   = "127.0.0.1:<L0>"
health   = "/healthz"
update   = { deadline = "3s" }
"""


def texts(stack: Stack) -> set[str]:
    return {get(stack.ports.listen(0)).text.split()[1] for _ in range(8)}


def applied_while_counting(stack: Stack) -> tuple[int, str, int]:
    """`apply` in the background: its exit code, what it said, and the fewest ready replicas meanwhile."""
    fewest = 4
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        apply = pool.submit(stack.run, "apply", code=None)
        while not apply.done():
            fewest = min(fewest, stack.app("web")["ready"])
        done = apply.result()
    return done.returncode, done.stdout + done.stderr, fewest


@scenario
def a_release_that_never_listens_goes_back() -> None:
    """apply exits 1, no request fails, at least 3 of 4 are ready all the time; it is not tried again, also not by a restart."""
    with Stack() as stack:
        stack.write(WEB)
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=8, fresh=4) as load:
            stack.edit("text=one", "text=two start=600000")
            code, said, fewest = applied_while_counting(stack)
        equal(code, 1, "exit code of apply")
        contains(said, ["revision 2 failed", "within 3.0 s", "back to revision 1"], "apply")
        equal(load.failures[:10], [], "failed requests")
        check(load.done > 20, "no traffic")
        check(fewest >= 3, f"{fewest} of 4 were ready")
        stack.ready("web")
        equal({row["revision"] for row in stack.replicas("web")}, {1}, "revisions that run")
        equal(texts(stack), {"one"}, "what answers")
        contains(stack.app("web")["reason"], "revision 2 failed", "ps")
        before = stack.pids()
        contains(stack.run("reload", code=1).stderr, "apply --retry", "reload")
        equal(stack.pids(), before, "pids after another reload")
        stack.end(code=0)
        stack.daemon()
        stack.ready("web")
        equal(texts(stack), {"one"}, "what answers after a restart of the daemon")
        contains(stack.app("web")["reason"], "revision 2 failed", "ps after a restart of the daemon")
        stack.edit("text=two start=600000", "text=three")
        stack.run("apply")
        equal(texts(stack), {"three"}, "what answers after a good edit")
        equal(stack.app("web")["reason"], None, "ps after a good edit")


@scenario
def a_release_that_answers_errors_goes_back() -> None:
    """Ready, but half of what it answers is 500: the balancer's counts tell."""
    with Stack() as stack:
        stack.write(WEB)
        stack.daemon()
        stack.ready()
        with Load(stack.ports.listen(0), keep=8, fresh=4) as load:
            stack.write(WEB.replace('deadline = "3s"', 'deadline = "10m", min_ready = "10s"').replace("text=one", "text=two answer=500"))
            done = stack.run("apply", code=1)
        contains(done.stderr, ["revision 2 failed: it answers worse", "back to revision 1"], "apply")
        check(load.done > 100, "no traffic")
        wait_for("only the old one runs", lambda: {row["revision"] for row in stack.replicas("web")} == {1} and len(stack.replicas("web")) == 4)
        equal(texts(stack), {"one"}, "what answers")


@scenario
def rollouts_by_hand() -> None:
    """status, history and undo; the hold outlives the daemon and ends by resume."""
    with Stack() as stack:
        stack.write(WEB.replace("replicas = 4", 'replicas = 2\nenv = { API_TOKEN = "s3cr3t" }'))
        stack.daemon()
        stack.ready()
        stack.edit("text=one", "text=two")
        stack.run("apply")
        contains(stack.run("rollout", "status", "web").stdout, ["revision 2", "2 of 2 ready", "in force"], "rollout status")
        history = stack.run("rollout", "history", "web").stdout
        contains(history, ["was ready", "in force", "run"], "rollout history")
        found = json.loads(stack.run("rollout", "history", "web", "-o", "json").stdout)
        equal([row["revision"] for row in found["history"]], [1, 2], "history")
        equal(found["history"][1]["changed"], ["run"], "what changed")
        check("s3cr3t" not in history + json.dumps(found), "a secret is shown")
        stack.run("rollout", "undo", "web")
        equal(texts(stack), {"one"}, "what answers after undo")
        contains(stack.app("web")["hold"], "rolled back by hand to revision 1", "hold")
        stack.run("reload")
        equal(texts(stack), {"one"}, "what answers after a reload")
        stack.end(code=0)
        stack.daemon()
        stack.ready()
        equal(texts(stack), {"one"}, "what answers after a restart of the daemon")
        contains(stack.app("web")["hold"], "rolled back by hand to revision 1", "hold")
        stack.run("resume", "web")
        equal(texts(stack), {"two"}, "what answers after resume")
        equal(stack.app("web")["hold"], None, "hold")
        contains(stack.run("rollout", "undo", "nosuch", code=1).stderr, "no app 'nosuch'", "undo of no app")
        contains(stack.run("rollout", "redo", "web", code=64).stderr, "status, undo and history", "an unknown word")


if __name__ == "__main__":
    sys.exit(main())
