"""A replica that the runner plays: opens the port that muster gave it and hands the listening socket over.

    backend.py PORT SOCKET    SOCKET: where the runner waits for it
"""
import os
import signal
import socket
import sys

with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512) as listener:
    with socket.socket(socket.AF_UNIX) as runner:
        runner.connect(sys.argv[2])
        socket.send_fds(runner, [os.environ["MUSTER_APP"].encode()], [listener.fileno()])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        manager.send(b"READY=1")
    signal.pause()
