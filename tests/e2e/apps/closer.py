"""Accepts, reads, and closes without an answer."""
import socket
import sys

with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        client, _ = listener.accept()
        client.recv(65536)
        client.close()
