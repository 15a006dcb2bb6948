"""The client of ./db that app.py and worker.py share. MUSTER_ADDR_DB names the replicas, comma-separated."""
import os
import socket


def ask(command: str, key: str) -> str:
    replicas = os.environ["MUSTER_ADDR_DB"].split(",")
    host, _, port = replicas[sum(key.encode()) % len(replicas)].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        connection.sendall(command.encode() + b"\n")
        return connection.makefile(encoding="utf-8").readline().rstrip("\n")
