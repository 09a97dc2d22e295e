"""Requests that Schemathesis makes from an OpenAPI description, and what is wrong with the answers of any server."""

from __future__ import annotations

import contextlib
import hashlib
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi import checks

BASE = "http://fuzz.invalid"
LONGEST_TARGET = 32_768
"""Characters of path and query; the client that sends them takes no more than twice as many."""
CHECKS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
)
KINDS = {
    "ServerError": "server error",
    "UndefinedStatusCode": "undocumented status",
    "UndefinedContentType": "undocumented content type",
    "MissingContentType": "undocumented content type",
    "MissingHeaders": "missing header",
}


@dataclass(frozen=True)
class Sent:
    """One generated request.

    Args:
        method: HTTP method.
        target: Path and query as they go over the wire.
        headers: Headers, without credentials.
        body: Body, empty if there is none.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def from_case(cls, case: Case[Any]) -> Sent:
        """Returns what Schemathesis would send."""
        arguments = case.as_transport_kwargs(base_url=BASE)
        known = {"method", "url", "headers", "params", "json", "data", "cookies", "files"}
        prepared = requests.Request(**{name: value for name, value in arguments.items() if name in known}).prepare()
        parts = urllib.parse.urlsplit(prepared.url or "")
        body = prepared.body or b""
        # `Authorization` is the sender's business, and a length belongs to the bytes that are really sent.
        left_out = {"authorization", "content-length", "x-schemathesis-testcaseid", "user-agent"}
        headers = {name: value for name, value in prepared.headers.items() if name.lower() not in left_out}
        return cls(
            method=prepared.method or case.method,
            target=parts.path + (f"?{parts.query}" if parts.query else ""),
            headers=headers,
            body=body.encode() if isinstance(body, str) else bytes(body),
        )

    def filled(self, values: Mapping[str, str]) -> Sent:
        """Returns the request with placeholders replaced by what the server at hand calls these things."""
        target, body = self.target, self.body
        for placeholder, value in values.items():
            target = target.replace(placeholder, urllib.parse.quote(value, safe=""))
            body = body.replace(placeholder.encode(), value.encode())
        return Sent(self.method, target, self.headers, body)


@dataclass(frozen=True)
class Answered:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, order=True)
class Finding:
    """Something wrong with an answer; two findings are equal when they are of the same kind.

    Args:
        operation: Method and path template.
        kind: One of `KINDS`, or `schema violation`.
        status: Status of the answer.
        detail: What exactly, for people.
    """

    operation: str
    kind: str
    status: int
    detail: str = field(compare=False, default="")


def judge(case: Case[Any], sent: Sent, answered: Answered) -> list[Finding]:
    """Returns what is wrong with the answer to a generated request, by the description that it was generated from."""
    load_all_checks()
    response = schemathesis.Response(
        status_code=answered.status,
        headers={name.lower(): [value] for name, value in answered.headers.items()},
        content=answered.body,
        request=requests.Request(sent.method, BASE + sent.target).prepare(),
        elapsed=0.0,
        verify=False,
    )
    try:
        case.validate_response(response, checks=list(CHECKS))
    except FailureGroup as group:
        failures = list(group.exceptions)
    except Failure as failure:
        failures = [failure]
    else:
        return []
    return [
        Finding(
            case.operation.label,
            KINDS.get(type(failure).__name__, "schema violation"),
            answered.status,
            f"{sent.method} {sent.target[:300]} {sent.body[:300]!r}: {' '.join(str(failure).split())[:400]} "
            f"<- {answered.body[:300]!r}",
        )
        for failure in failures
    ]


class Fuzzer:
    """Generates the same requests from a description at every run.

    Args:
        document: The OpenAPI document.
        known: Values that the server knows, by name of a parameter or property: many of the generated requests use
            them, so that they reach more than "there is no such thing".
    """

    def __init__(self, document: Mapping[str, Any], known: Mapping[str, list[str]] | None = None) -> None:
        self.schema = schemathesis.openapi.from_dict(dict(document))
        self.known = known or {}
        self._operations = {}
        for result in self.schema.get_all_operations():
            operation = result.ok()
            self._operations[operation.label] = operation

    @property
    def labels(self) -> list[str]:
        """All operations, as `METHOD /path`."""
        return list(self._operations)

    def secured(self, label: str) -> bool:
        """Whether the description demands credentials for an operation."""
        return bool(self._operations[label].definition.raw.get("security"))

    def run(self, label: str, examples: int, number: int, each: Callable[[Case[Any], Sent], None]) -> None:
        """Generates requests of one operation, valid and invalid ones.

        Args:
            label: The operation.
            examples: Number of requests.
            number: Seed.
            each: Gets each case and the request that it stands for.
        """
        operation = self._operations[label]
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        own = int.from_bytes(hashlib.sha256(f"{number} {label}".encode()).digest()[:8], "big")

        # Half of them by each mode, whatever Hypothesis prefers.
        for mode in modes:

            @seed(own)
            @settings(
                max_examples=max(1, examples // 2),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=_informed(operation.as_strategy(mode), self.known))
            def generated(case: Case[Any]) -> None:
                sent = Sent.from_case(case)
                assume(len(sent.target) <= LONGEST_TARGET)
                each(case, sent)

            # Where an operation takes nothing, nothing can be wrong about a request.
            with contextlib.suppress(Unsatisfiable):
                generated()


@st.composite
def _informed(draw: st.DrawFn, cases: st.SearchStrategy[Case[Any]], known: Mapping[str, list[str]]) -> Case[Any]:
    """Generated cases in which some values are ones that the server knows."""
    case = draw(cases)
    for name in sorted(set(case.path_parameters) & set(known)):
        if draw(st.integers(0, 4)):
            case.path_parameters[name] = draw(st.sampled_from(known[name]))
    for values in (case.query, case.body):
        if isinstance(values, dict):
            for name in sorted(set(values) & set(known)):
                if draw(st.booleans()):
                    chosen = draw(st.sampled_from(known[name]))
                    values[name] = [chosen] if isinstance(values[name], list) else chosen
    return case
