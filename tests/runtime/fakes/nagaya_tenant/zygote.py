"""The stand-in for a zygote: same protocol, nothing pre-loaded."""

import json
import os
import selectors
import signal
import socket
import sys
import time

from nagaya_tenant.tenant import behaviour, main


def spawn(data: bytes, fds: list[int], children: dict[int, str]) -> dict:
    """Carry out one order."""
    order = json.loads(data)
    how = behaviour("zygote")
    if how == "dying at spawn":
        os._exit(9)
    if how == "dying after fork":
        if os.fork() == 0:
            main(order, fds)
        time.sleep(0.05)
        os._exit(9)
    if how == "refusing":
        return {"error": "it has two threads"}
    if how == "silent":
        time.sleep(3600)
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        main(order, fds)
    if how == "answering late":
        os.waitpid(pid, 0)
    children[pid] = order["name"]
    return {"pid": pid}


def run(path: str) -> None:
    """Serve orders until told to stop."""
    how = behaviour("zygote")
    if how == "slow":
        time.sleep(0.6)
    if how == "unsupported":
        print("this engine has no reset table", file=sys.stderr)
        sys.exit(78)
    if how == "dying":
        print("GuardError: a thread is running", file=sys.stderr)
        sys.exit(1)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.bind(path)
    control.listen(8)
    os.write(1, b'{"ready": true}\n' if how != "lying" else b"almost\n")
    children: dict[int, str] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    wake, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector.register(wake, selectors.EVENT_READ)
    peers: set[socket.socket] = set()
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                peer = control.accept()[0]
                peers.add(peer)
                selector.register(peer, selectors.EVENT_READ)
            elif key.fileobj == wake:
                os.read(wake, 100)
                reap(children, peers)
            else:
                answer(key.fileobj, selector, peers, children)


def reap(children: dict[int, str], peers: set[socket.socket]) -> None:
    """Tell the keeper which children ended."""
    while children and (found := os.waitpid(-1, os.WNOHANG))[0]:
        children.pop(found[0], None)
        for peer in peers:
            peer.send(json.dumps({"exit": found[0], "status": os.waitstatus_to_exitcode(found[1])}).encode())


def answer(peer: socket.socket, selector: selectors.BaseSelector, peers: set[socket.socket], children: dict) -> None:
    """Answer one message."""
    data, fds, _, _ = socket.recv_fds(peer, 1 << 18, 8)
    if not data:
        selector.unregister(peer)
        peers.discard(peer)
        peer.close()
        return
    command = json.loads(data)["cmd"]
    result = {"ok": True}
    if command == "spawn":
        result = spawn(data, fds, children)
    for descriptor in fds:
        os.close(descriptor)
    peer.send(json.dumps(result).encode())
    if command == "quit":
        sys.exit(0)


run(sys.argv[1])
