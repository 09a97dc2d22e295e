"""Traces that reach a collector over OTLP, what is in them and what is not, and that nothing happens without one."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nagaya import tracing
from nagaya.supervisor import control
from tests.runtime.support import wait_for
from tests.supervisor.support import running_platform

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Collector:
    """An OTLP receiver that keeps every span."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[dict[str, object]]:
        """Every span that has arrived."""
        import gzip  # noqa: PLC0415 - beside its only use.

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - an extra.
            ExportTraceServiceRequest,
        )

        found = []
        for body in self.bodies:
            plain = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
            request = ExportTraceServiceRequest.FromString(plain)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        attributes = {
                            item.key: item.value.string_value or item.value.int_value for item in span.attributes
                        }
                        found.append(
                            {"name": span.name, "trace": span.trace_id.hex(), "parent": span.parent_span_id.hex()}
                            | attributes
                        )
        return found


@contextmanager
def collector() -> Iterator[Collector]:
    receiver = Collector()
    thread = threading.Thread(target=receiver.server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


@pytest.fixture
def place() -> Iterator[Path]:
    import tempfile  # noqa: PLC0415 - beside its only use.

    with tempfile.TemporaryDirectory(prefix="nagaya-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_request_is_traced_from_the_client_through_the_gateway(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as receiver:
        monkeypatch.setenv("NAGAYA_OTEL_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with running_platform(place, commands={}) as platform:
            connection = http.client.HTTPConnection("127.0.0.1", platform.config.port, timeout=15)
            secret = "a-secret-in-the-query"
            headers = {"traceparent": PARENT, "Authorization": "Bearer another-secret"}
            connection.request("GET", f"/api/v1/tenants/a-name-of-a-user?token={secret}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            request_id = answer.headers["X-Request-ID"]
            connection.request("GET", "/api/v1/server/info", headers={"traceparent": "00-nonsense-01"})
            connection.getresponse().read()
            connection.close()
            found = wait_for(lambda: [span for span in receiver.spans() if span["trace"] == TRACE])
            control.stop(platform.config, timeout=20)
        assert found[0]["parent"] == "b7ad6b7169203331"
        assert found[0]["nagaya.request_id"] == request_id
        assert found[0]["http.response.status_code"] == answer.status
        assert "/tenants/{" in str(found[0]["http.route"])
        text = json.dumps(receiver.spans())
        assert not any(word in text for word in (secret, "another-secret", "a-name-of-a-user", "nonsense"))
        assert "/server/info" in text


def test_an_operation_is_a_span_with_its_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    now = dt.datetime.now(dt.UTC)
    earlier = now - dt.timedelta(seconds=3)
    ended = tracing.Ended("create", "failed", "req-1", earlier, now, (("queued", earlier, now),))
    tracing.operation(ended)
    with collector() as receiver:
        assert tracing.configure({"NAGAYA_OTEL_ENDPOINT": receiver.url})
        tracing.operation(ended)
        tracing.shut_down()
        spans = {str(span["name"]): span for span in receiver.spans()}
    assert set(spans) == {"operation create", "phase queued"}
    assert spans["phase queued"]["trace"] == spans["operation create"]["trace"]
    assert spans["operation create"]["nagaya.request_id"] == "req-1"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NAGAYA_OTEL_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_nothing_is_traced(environment: dict[str, str]) -> None:
    assert not tracing.configure(environment)
    span = tracing.start("GET", {}, "req-1")
    assert span is None
    tracing.end(span, 200, None)
    tracing.shut_down()


def test_without_an_endpoint_the_library_is_not_imported() -> None:
    code = (
        "import sys, nagaya.server, nagaya.tracing as t\nassert not t.configure({})\n"
        # The api package alone may be there: other libraries import it where they find it.
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(tracing.TracingError, match=r"install nagaya\[otel\]"):
        tracing.configure({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"})
