"""What the engine answers: decisions with their reasons, lists of ids, explanations."""

from __future__ import annotations

from typing import NamedTuple


class Decision(NamedTuple):
    """The answer to one question.

    Args:
        allowed: Whether it may be done.
        reason: Why, for people: starts with `allowed: ` or `denied: `.
    """

    allowed: bool
    reason: str


class AllowedIds(NamedTuple):
    """Which resources of a type may be acted upon, beside the principal's own.

    Args:
        full_access: Whether all of them may.
        ids: UUIDs of those that may, sorted; empty under full access.
        reason: Why, for people.
    """

    full_access: bool
    ids: tuple[str, ...]
    reason: str


class EffectivePermission(NamedTuple):
    """One thing that a principal may do, and why.

    Args:
        permission: `type:action`.
        scope: `tenant`, a project as `project <id>`, or a single resource as ZenML writes it.
        reason: `role Developer via team vision`, `shared with you`, `every member`, …
    """

    permission: str
    scope: str
    reason: str


class ConsideredRule(NamedTuple):
    """One rule in an explanation.

    Args:
        rule: Name of the rule: `membership`, `platform resource`, `ownership`, `role`, …
        outcome: `allows`, `denies` or `does not apply`.
        detail: What the rule found, for people.
        deciding: Whether this rule decided; exactly one rule of an explanation did.
    """

    rule: str
    outcome: str
    detail: str
    deciding: bool


class Explanation(NamedTuple):
    """A decision together with every rule that exists for it, in the order in which they are considered."""

    decision: Decision
    rules: tuple[ConsideredRule, ...]
