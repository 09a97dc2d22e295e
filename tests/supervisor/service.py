"""A stand-in for api and gateway: answers every path with its pid and user on each inherited socket."""

import json
import os
import selectors
import socket
import sys
from pathlib import Path

sockets = {name: socket.socket(fileno=fd) for name, fd in json.loads(os.environ["NAGAYA_SOCKETS"]).items()}
print("serving", sorted(sockets), "uid", os.getuid(), sys.argv[-1], flush=True)
selector = selectors.DefaultSelector()
for listener in sockets.values():
    listener.setblocking(True)
    selector.register(listener, selectors.EVENT_READ)
status = Path("/proc/self/status").read_text().splitlines()
about = {
    "pid": os.getpid(),
    "uid": os.getuid(),
    "groups": os.getgroups(),
    "no_new_privs": next(line.split()[1] for line in status if line.startswith("NoNewPrivs")),
    "env": dict(os.environ),
    "config": json.loads(Path(sys.argv[-1]).read_text()),
}
body = json.dumps(about).encode()
if "NAGAYA_READY" in os.environ:
    os.write(int(os.environ["NAGAYA_READY"]), b"ready\n")
while True:
    for key, _ in selector.select():
        connection, _ = key.fileobj.accept()
        if b"/channel/" in connection.recv(4096):
            connection.sendall(b"HTTP/1.1 503 Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            connection.close()
            continue
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        connection.close()
