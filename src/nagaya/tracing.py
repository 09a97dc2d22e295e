"""Traces by OpenTelemetry, where an endpoint is configured; else nothing of the library is even imported.

Spans carry the method, the template of the route, the status and the request's id: nothing that a user wrote. A
`traceparent` that the client sent passes through the gateway to api and tenants, and becomes the parent here.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nagaya

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from nagaya.operations.models import Operation

ENDPOINT = "NAGAYA_OTEL_ENDPOINT"
_STANDARD = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SHUT_DOWN_MILLISECONDS = 3000


class TracingError(Exception):
    """Traces are wanted and cannot be sent; the message says what to do."""


@dataclass
class _State:
    provider: TracerProvider | None = None


_state = _State()


@dataclass(frozen=True)
class Ended:
    """What a trace tells of an operation: its phases are `(name, started, finished)`."""

    kind: str
    status: str
    request_id: str
    began: dt.datetime
    ended: dt.datetime
    phases: tuple[tuple[str, dt.datetime, dt.datetime], ...]

    @classmethod
    def of(cls, operation: Operation, now: dt.datetime) -> Ended:
        """Return what an operation that has just ended was."""
        phases = tuple(
            (str(each["name"]), dt.datetime.fromisoformat(each["started"]), dt.datetime.fromisoformat(each["finished"]))
            for each in operation.phases
            if each.get("started") and each.get("finished")
        )
        return cls(operation.kind, operation.status, operation.request_id or "", operation.created, now, phases)


def configure(environment: Mapping[str, str] = os.environ) -> bool:
    """Begin to trace if the environment names an endpoint; tells whether it does.

    Raises TracingError when the packages are not installed.
    """
    endpoint = environment.get(ENDPOINT)
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    if not endpoint and not any(environment.get(name) for name in _STANDARD):
        return False
    try:
        # Imported only where they are used: they are an extra, and large.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracingError(
            "An OpenTelemetry endpoint is configured, but its packages are not installed: install nagaya[otel] "
            "(in a checkout: ./run exec uv pip install --require-hashes -r locks/otel.lock), or remove the setting."
        ) from error
    address = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    resource = Resource.create(
        {"service.name": environment.get("OTEL_SERVICE_NAME", "nagaya-api"), "service.version": nagaya.__version__}
    )
    _state.provider = TracerProvider(resource=resource)
    # It sends in a thread of its own, and drops what it cannot send: requests never wait for a collector.
    _state.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
    return True


def shut_down() -> None:
    """Send what has gathered, within some seconds, and stop."""
    provider, _state.provider = _state.provider, None
    if provider is not None:
        provider.force_flush(_SHUT_DOWN_MILLISECONDS)
        provider.shutdown()


def start(method: str, headers: Mapping[bytes, bytes], request_id: str) -> Span | None:
    """Begin the span of a request; None where nothing is traced."""
    if _state.provider is None:
        return None
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - imported long before, at the start.
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    parent = headers.get(b"traceparent", b"")
    carrier = {"traceparent": parent.decode()} if _PARENT.fullmatch(parent) else {}
    known = method if method in _METHODS else "_OTHER"
    return _state.provider.get_tracer("nagaya").start_span(
        known,
        context=TraceContextTextMapPropagator().extract(carrier),
        kind=SpanKind.SERVER,
        attributes={"http.request.method": known, "nagaya.request_id": request_id},
    )


def end(span: Span | None, status: int, route: Any) -> None:
    """End the span of a request; `route` is what answered it, if anything did."""
    if span is None:
        return
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - as above.

    template = getattr(route, "path", None)
    if isinstance(template, str):
        span.set_attribute("http.route", template)
        span.update_name(f"{getattr(span, 'name', '')} {template}".strip())
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)
    span.end()


def operation(ended: Ended) -> None:
    """Tell of an operation that has ended, with a span for each of its phases."""
    if _state.provider is None:
        return
    from opentelemetry.trace import StatusCode, set_span_in_context  # noqa: PLC0415 - as above.

    tracer = _state.provider.get_tracer("nagaya")
    attributes = {"nagaya.operation.kind": ended.kind, "nagaya.operation.status": ended.status}
    whole = tracer.start_span(
        f"operation {ended.kind}",
        start_time=_nanoseconds(ended.began),
        attributes=attributes | {"nagaya.request_id": ended.request_id},
    )
    if ended.status == "failed":
        whole.set_status(StatusCode.ERROR)
    for name, began, finished in ended.phases:
        inner = tracer.start_span(
            f"phase {name}", context=set_span_in_context(whole), start_time=_nanoseconds(began), attributes=attributes
        )
        inner.end(_nanoseconds(finished))
    whole.end(_nanoseconds(ended.ended))


def _nanoseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1_000_000_000)
