"""The comparison as Markdown, for docs/conformance.md."""
import re
import typing

from case import Case

if typing.TYPE_CHECKING:
    from run import Verdict

TITLES = {
    "9112 2.2": "message parsing", "9112 2.3": "HTTP version", "9112 3": "request line", "9112 3.1": "method", "9112 3.2": "Host",
    "9112 3.2.1": "origin-form", "9112 3.2.2": "absolute-form", "9112 3.2.3": "authority-form", "9112 3.2.4": "asterisk-form",
          "9112 4": "status line",
    "9112 5.1": "field lines", "9112 5.2": "obsolete line folding", "9112 6.1": "Transfer-Encoding", "9112 6.2": "Content-Length",
          "9112 6.3": "body length",
    "9112 7.1": "chunked coding", "9112 7.1.1": "chunk extensions", "9112 7.1.2": "trailer section", "9112 8": "incomplete messages",
    "9112 9.2": "answers and their requests", "9112 9.3": "persistence", "9112 9.3.1": "retrying requests", "9112 9.3.2": "pipelining",
    "9112 9.5": "early answers", "9112 9.6": "tear-down", "9112 9.8": "closing of replicas", "9112 11.1": "response splitting",
          "9112 11.2": "request smuggling",
    "9110 5.1": "field names", "9110 5.3": "field order", "9110 5.4": "field limits", "9110 5.5": "field values",
          "9110 6.6.1": "Date", "9110 9.2.2": "idempotent methods", "9110 7.6.1": "Connection, hop-by-hop fields",
    "9110 7.6.2": "Max-Forwards", "9110 7.6.3": "Via", "9110 7.8": "Upgrade", "9110 9.3.2": "HEAD", "9110 10.1.1": "Expect",
          "9110 15.2": "interim answers",
    "9110 15.3.5": "204", "9110 15.3.6": "205", "9110 15.3.7": "206", "9110 15.4.5": "304", "9110 15.5.9": "408", "9110 15.5.14": "413",
    "9110 15.5.15": "414", "9110 15.6.4": "502 and what follows", "9110 15.6.5": "504",
}

HEAD = """# HTTP/1.1 conformance

Written by `tests/conformance/run.py MUSTER --table docs/conformance.md`; `ctest -R conformance` runs the cases against
muster, where each has to hold. A case is a few bytes from a client, what a scripted replica answers, what must come
back and what must never reach the replica. haproxy and nginx run the same cases as Debian ships them: with keep-alive
to the servers and, for nginx, with the WebSocket map and `Host $host` of its manual and request buffering off.

A case counts as passed when the proxy does what the RFC demands or allows, a SHOULD included; where the RFC allows
more than one thing (a lone LF, a folded line), each of them passes for haproxy and nginx, while muster must do what it
promises: refuse. So the score does not say how secure a proxy is: many rows differ because haproxy and nginx choose to
be lenient where real clients are wrong. haproxy's score can differ by one or two from run to run: it answers a few
malformed trailers now with 400, now by passing them on.

`tests/conformance/desync.py` goes further with pairs of requests: ambiguous bytes of one client, then an innocent
request of another over the same connection to a replica, which reads HTTP in one of sixteen odd ways (bare LF, folded
lines, `Transfer_Encoding`, the first or the last of two lengths, loose chunk sizes, …) and answers oddly, too. Nobody may
get the answer to somebody else's request. `ctest -R desync` plays 3,200 pairs, `desync_long` 100,000; muster must have
no desync. Of 6,400 pairs (seed 1) muster had 0, nginx 0, haproxy 17: it passes `Transfer_Encoding` on, which a replica
that turns fields into variables (CGI, WSGI) takes for the real one. muster refuses that name and `Content_Length`, and
drops `X_Forwarded_For` and its like from requests.
"""


def order(section: str) -> tuple[int, ...]:
    rfc, _, number = section.partition(" ")
    return (-int(rfc), *(int(part) for part in number.split(".")))


def short(text: str, limit: int) -> str:
    """One line of a table without what differs from run to run."""
    text = re.sub(r"Date: [^\\]*\\r\\n|Server: [^\\]*\\r\\n", "", text.replace("\n", " "))
    text = re.sub(r" \(\w+\.py:\d+\)", "", text)
    text = text if len(text) <= limit else text[:limit].rstrip("\\") + "…"
    return text.replace("|", "\\|").replace("<", "&lt;")


def cell(verdict: "Verdict") -> str:
    if verdict.problem:
        return f"**no**: {short(verdict.problem, 110)}"
    return f"yes{': ' + short(verdict.outcome, 60) if verdict.outcome else ''}"


def sections(cases: list[Case], results: dict[str, dict[str, "Verdict"]]) -> list[str]:
    lines = [f"| RFC | about | cases | {' | '.join(results)} |", f"|---|---|--:|{'--:|' * len(results)}"]
    for section in sorted({one.section for one in cases}, key=order):
        names = [one.name for one in cases if one.section == section]
        scores = [str(sum(not verdicts[name].problem for name in names)) for verdicts in results.values()]
        lines.append(f"| {section} | {TITLES[section]} | {len(names)} | {' | '.join(scores)} |")
    totals = [str(sum(not verdict.problem for verdict in verdicts.values())) for verdicts in results.values()]
    return [*lines, f"| | **all** | **{len(cases)}** | {' | '.join(f'**{total}**' for total in totals)} |"]


def differences(cases: list[Case], results: dict[str, dict[str, "Verdict"]]) -> list[str]:
    lines = []
    for section in sorted({one.section for one in cases}, key=order):
        rows = [one for one in cases if one.section == section and len({bool(verdicts[one.name].problem) for verdicts in results.values()}) > 1]
        if not rows:
            continue
        lines += ["", f"### RFC {section}: {TITLES[section]}", "", f"| case | why | {' | '.join(results)} |", f"|---|---|{'---|' * len(results)}"]
        for one in rows:
            lines.append(f"| {one.name} | {short(one.why, 200)} | {' | '.join(cell(verdicts[one.name]) for verdicts in results.values())} |")
    return lines


def markdown(cases: list[Case], results: dict[str, dict[str, "Verdict"]], versions: dict[str, str], skipped: dict[str, str]) -> str:
    lines = [HEAD, f"Compared: {', '.join(f'{name} {versions[name]}' for name in results)}.",
             *(f"\n{name}: {reason}." for name, reason in skipped.items()), ""]
    lines += ["## Passed cases of each section", "", *sections(cases, results)]
    known = [one for one in cases if one.known]
    if known:
        lines += ["", "## Where muster differs on purpose", "", *(f"- {one.name} (RFC {one.section}): {one.why} {one.known}" for one in known)]
    lines += ["", "## Cases in which they differ", "",
              "`yes` is followed by the statuses that the client got and the number of requests that went on.", *differences(cases, results)]
    return "\n".join(lines) + "\n"
