"""Counts up in the db once a second, until it is told to stop."""
import signal
import threading

from database import ask

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())

while not stop.wait(1):
    try:
        count = int(ask("GET ticks", "ticks") or "0") + 1
        ask(f"SET ticks {count}", "ticks")
        print(f"tick {count}", flush=True)
    except OSError as problem:
        print(f"db does not answer: {problem}; trying again", flush=True)
