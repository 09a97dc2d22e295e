"""Replacing processes of a platform that serves: no request is lost, tenants go on, and what fails changes nothing."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from nagaya.supervisor import control
from nagaya.supervisor.errors import SetupError
from nagaya.supervisor.record import SupervisorRecord
from tests.runtime.support import alive, ask, wait_for
from tests.supervisor.support import Platform, running_platform


class Stream:
    """Clients that send requests without a pause until they are stopped: new connections, kept ones, writes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopped = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        work = [self._fresh, self._kept, self._kept, self._writing]
        self._threads = [threading.Thread(target=self._loop, args=(each,)) for each in work]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _loop(self, work: Callable[[http.client.HTTPConnection], None]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._stopped.is_set():
            try:
                work(connection)
                self.outcomes[work.__name__] += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(f"{work.__name__}: {error!r}")
                connection.close()
        connection.close()

    def _fresh(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/api/v1/server/info", headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)

    def _kept(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/api/v1/server/info")
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)

    def _writing(self, connection: http.client.HTTPConnection) -> None:
        """A request that must not be sent twice: the gateway may not hide a lost one by repeating it."""
        body = json.dumps({"client_id": "x", "device_id": None})
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        connection.request("POST", "/api/v1/auth/login", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 500, (answer.status, text)


@pytest.mark.timeout(180)
def test_a_constant_stream_of_requests_loses_none_while_api_and_gateway_are_replaced(place: Path) -> None:
    with running_platform(place, commands={}) as platform, Stream(platform.config.port) as stream:
        wait_for(lambda: all(stream.outcomes[name] > 5 for name in ("_fresh", "_kept", "_writing")), seconds=30)
        for service in ("api", "gateway", "keeper", "supervisor", "api", "gateway"):
            before, count = platform.pid(service), stream.outcomes.total()
            done = control.restart(platform.config, service, 60)
            assert (done["before"], done["pid"]) == (before, platform.pid(service))
            assert (done["before"] == done["pid"]) == (service == "supervisor")
            wait_for(lambda count=count: stream.outcomes.total() > count + 50, seconds=30)
        # Those that were replaced end by themselves.
        wait_for(lambda: not any(item.retiring for item in platform.record().services.values()), seconds=40)
        assert stream.failures == []
        print(f"{stream.outcomes.total()} requests, none failed: {dict(stream.outcomes)}")
        assert {item["restarts"] for item in control.status(platform.config)["processes"]} == {0}


def test_the_keeper_is_replaced_and_its_tenants_go_on(platform: Platform) -> None:
    tenant, asleep = platform.create(), platform.create()
    awake = platform.call("wake", id=tenant)
    zygotes = platform.call("hello")["engines"]
    control.restart(platform.config, "keeper", 60)
    assert platform.call("hello")["pid"] == platform.pid("keeper")
    assert platform.call("hello")["engines"] == zygotes
    assert platform.call("wake", id=tenant) == awake
    assert ask(awake["socket"]) == str(awake["pid"]).encode()
    assert platform.call("wake", id=asleep)["pid"]
    platform.check_invariants()


def test_a_start_that_is_under_way_is_finished_before_the_keeper_goes(platform: Platform) -> None:
    tenant = platform.create()
    platform.engine.behave(tenant="slow")
    answers: list[dict[str, object]] = []
    waking = threading.Thread(target=lambda: answers.append(platform.call("wake", id=tenant)))
    waking.start()
    wait_for(lambda: platform.state(tenant)["state"] == "starting")
    control.restart(platform.config, "keeper", 60)
    waking.join(20)
    assert answers
    assert platform.state(tenant)["pid"] == answers[0]["pid"]
    assert platform.state(tenant)["restarts"] == 0


def test_a_supervisor_continues_in_new_code_with_the_same_process_and_children(platform: Platform) -> None:
    before = {name: platform.pid(name) for name in ("supervisor", "keeper", "api", "gateway")}
    control.restart(platform.config, "supervisor", 30)
    assert {name: platform.pid(name) for name in before} == before
    assert control.running(platform.config)
    with pytest.raises(SetupError, match="already runs"):
        control.start(platform.config)
    os.kill(before["gateway"], 9)
    wait_for(lambda: platform.pid("gateway") != before["gateway"])
    assert platform.ask()["pid"] == platform.pid("gateway")
    assert control.stop(platform.config, timeout=20)
    assert platform.processes() == set()


def test_a_successor_that_does_not_serve_leaves_the_old_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_platform(place) as platform:
        before = platform.ask()["pid"]
        service = place / "service.py"
        good = service.read_text()
        service.write_text("raise SystemExit('the new code is broken')")
        with pytest.raises(SetupError, match=r"new gateway does not serve.*the new code is broken"):
            control.restart(platform.config, "gateway", 30)
        assert platform.ask()["pid"] == before == platform.pid("gateway")
        service.write_text(good)
        control.restart(platform.config, "gateway", 30)
        wait_for(lambda: not alive(before))
        assert platform.ask()["pid"] != before


def test_a_supervisor_does_not_continue_in_code_that_cannot_read_its_configuration(platform: Platform) -> None:
    before = platform.pid("supervisor")
    text = platform.config.path.read_text()
    platform.config.path.write_text(text.replace('"port"', '"prot"'))
    with pytest.raises(SetupError, match=r"cannot take over: .*unknown settings"):
        control.restart(platform.config, "supervisor", 30)
    platform.config.path.write_text(text)
    assert platform.pid("supervisor") == before
    assert platform.ask()


def test_what_was_started_before_the_code_changed_is_shown(place: Path) -> None:
    with running_platform(place) as platform:
        status = control.status(platform.config)
        assert not status["outdated"]
        assert not any(item["outdated"] for item in status["processes"])
        record = platform.record()
        record.services["api"].build = record.build = "0123456789abcdef"
        record.write(platform.config)
        status = control.status(platform.config)
        assert status["outdated"]
        assert [item["name"] for item in status["processes"] if item["outdated"]] == ["api"]


def test_a_platform_without_a_supervisor_says_what_to_do(place: Path) -> None:
    with pytest.raises(SetupError, match="nagaya down"):
        control.restart(place / "d", "api", 1)


def test_predecessors_are_remembered_and_ended_with_the_platform(place: Path) -> None:
    with running_platform(place) as platform:
        # One that ignores the signal stands for a gateway with a long download.
        stubborn = place / "service.py"
        text = stubborn.read_text()
        stubborn.write_text("import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n" + text)
        os.kill(platform.pid("gateway"), 9)
        wait_for(lambda: "NAGAYA_SOCKETS" in platform.ask()["env"])
        old = platform.pid("gateway")
        control.restart(platform.config, "gateway", 30)
        assert [item.pid for item in platform.record().services["gateway"].retiring] == [old]
        control.restart(platform.config, "supervisor", 30)
        wait_for(lambda: (record := SupervisorRecord.read(platform.config.run_dir)) and record.services["gateway"])
        assert alive(old)
        assert control.stop(platform.config, timeout=20)
        assert platform.processes() == set()
