"""The outbox: order, bounds, durability when the process is killed, recovery of lost outcomes."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nagaya_tenant.audit import Audit
from nagaya_tenant.errors import Unavailable
from nagaya_tenant.outbox import Outbox, OutboxFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITER = """
import itertools, sys
from pathlib import Path
from nagaya_tenant.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
for number in itertools.count():
    outbox.intend(f"i{number}", {"kind": "audit.intent", "intent": f"i{number}", "number": number}).result()
    print(number, flush=True)
    if number % 2:
        outbox.conclude(f"i{number}", {"kind": "audit.outcome", "intent": f"i{number}", "outcome": "success"})
"""


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db", limit=10)
    yield outbox
    outbox.close()


def test_events_come_out_in_order_and_go_when_acknowledged(outbox: Outbox) -> None:
    for number in range(5):
        outbox.append({"kind": "usage", "number": number})
    batch = outbox.batch()
    assert [(each["seq"], each["number"]) for each in batch] == [(n + 1, n) for n in range(5)]
    assert outbox.acknowledge(3) == 3
    assert [each["number"] for each in outbox.batch(1)] == [3]
    assert len(outbox) == 2
    outbox.acknowledge(5)
    outbox.append({"kind": "usage", "number": 5}).result()
    assert outbox.batch()[0]["seq"] == 6


def test_intents_are_refused_when_full_and_what_follows_from_changes_is_not(
    outbox: Outbox, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        outbox.intend(str(number), {"number": number}).result()
    with pytest.raises(OutboxFullError, match="10 events wait"):
        outbox.intend("more", {})
    outbox.conclude("0", {"outcome": "success"}).result()
    assert len(outbox) == 11
    outbox.append({"kind": "usage"}).result()
    assert len(outbox) == 11
    assert [each.get("outcome") for each in outbox.batch()][-1] == "success"


def test_small_values_are_remembered(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db")
    assert first.recall("key") is None
    first.remember("key", "1")
    first.remember("key", "2")
    first.close()
    second = Outbox(tmp_path / "outbox.db")
    assert second.recall("key") == "2"
    second.close()
    second.close()


def test_a_broken_disk_is_reported_to_the_caller(outbox: Outbox, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute("DROP TABLE event")
    with pytest.raises(sqlite3.OperationalError):
        outbox.append({"kind": "usage"}).result()
    assert len(outbox) == 0


async def _intend(audit: Audit) -> None:
    await audit.intend("p", "POST", "/x", {}, "r")


def test_a_change_that_cannot_be_recorded_is_not_made(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", limit=0)
    with pytest.raises(Unavailable, match="cannot record"):
        asyncio.run(_intend(Audit(outbox)))
    outbox.close()


@pytest.mark.parametrize("count", [3, 40])
def test_nothing_confirmed_is_lost_when_the_process_is_killed(tmp_path: Path, count: int) -> None:
    path = tmp_path / "outbox.db"
    confirmed = -1
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            confirmed = int(line)
            if confirmed >= count:
                writer.send_signal(signal.SIGKILL)
                break
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
    outbox = Outbox(path)
    events = outbox.batch(10_000)
    intents = [each["number"] for each in events if each["kind"] == "audit.intent"]
    assert intents[: confirmed + 1] == list(range(confirmed + 1))
    outcomes = {each["intent"]: each["outcome"] for each in events if each["kind"] == "audit.outcome"}
    assert set(outcomes) == {f"i{number}" for number in intents}
    assert outcomes["i0"] == "unknown"
    assert outcomes["i1"] == "success"
    outbox.close()
    again = Outbox(path)
    assert len(again) == len(events)
    again.close()


def test_the_file_holds_json_lines_that_the_protocol_can_carry(outbox: Outbox) -> None:
    outbox.append({"kind": "usage", "text": "ü\n"}).result()
    assert json.loads(json.dumps(outbox.batch()))[0]["text"] == "ü\n"
