"""The table of scenarios of a file, and the main() that runs one of them.

    FILE.py MUSTER REPLICA NAME     exit 0 passed, 1 failed, 77 skipped with the reason as the last line
    FILE.py --list                  the names, one a line
"""
import pathlib
import sys
import traceback
import typing

from lib import procs
from lib.expect import Failed, Skipped
from lib.stack import Stack

Scenario = typing.Callable[[], None]
_table: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    _table[function.__name__] = function
    return function


def main() -> int:
    if sys.argv[1:] == ["--list"]:
        print("\n".join(_table))
        return 0
    Stack.muster, Stack.replica = (str(pathlib.Path(word).resolve()) for word in sys.argv[1:3])
    procs.adopt_orphans()
    try:
        _table[sys.argv[3]]()
    except Skipped as reason:
        print(f"skipped: {reason}")
        return 77
    except Failed as problem:
        where = [frame for frame in traceback.extract_tb(problem.__traceback__) if "/lib/" not in frame.filename]
        print(f"{pathlib.Path(where[-1].filename).name}:{where[-1].lineno}: {problem}" if where else problem)
        return 1
    print("ok")
    return 0
