"""A tenant's process that answers every connection with its pid; behaviours are read at each start."""

import ctypes
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path


def behaviour(part: str) -> str:
    """Return how `part` shall behave now."""
    path = Path(os.environ["FAKE_BEHAVIOUR"])
    return json.loads(path.read_text()).get(part, "normal") if path.exists() else "normal"


def serve(order: dict, listen: int, policy: int, ready: int) -> None:
    """Become the tenant."""
    how = behaviour("tenant")
    ctypes.CDLL(None).prctl(15, order["name"].encode(), 0, 0, 0)
    os.setsid() if os.getpgid(0) != os.getpid() else None
    if order["uid"] is not None:
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    starts = Path(order["dir"]) / "starts"
    with starts.open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    print("starting", order["env"]["NAGAYA_TENANT"], flush=True)
    if how == "dying":
        print("cannot open the database", flush=True)
        os._exit(70)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "refusing":
        os.write(ready, json.dumps({"ready": False, "reason": "the template is missing"}).encode() + b"\n")
        os._exit(70)
    if how == "lying":
        os.write(ready, b"all is well\n")
        os._exit(0)
    if how == "mute":
        time.sleep(3600)
    if how == "slow":
        time.sleep(0.4)
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    version = json.loads(os.pread(policy, 1 << 20, 0))["version"]
    info = {"id": order["env"]["NAGAYA_TENANT_ID"], "policy": version, "uid": os.getuid()}
    os.write(ready, json.dumps({"ready": True, "timings": {"total": 1.5}, "info": info}).encode() + b"\n")
    os.close(ready)
    listener = socket.socket(fileno=listen)
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        data = connection.recv(100)
        if data == b"die":
            os._exit(3)
        connection.sendall(str(os.getpid()).encode())
        connection.close()


def main(order: dict, fds: list[int]) -> None:
    """Serve, and leave a trace of whatever goes wrong."""
    try:
        serve(order, *fds)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
    finally:
        os._exit(70)
