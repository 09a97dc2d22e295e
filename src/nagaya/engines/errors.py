"""What can be wrong with engines, as sentences."""

from __future__ import annotations


class EngineInstallError(Exception):
    """An engine could not be installed; the message says which step failed and why."""


class EngineRemovalError(Exception):
    """An engine cannot be removed; the message says why."""


def not_installed(version: str) -> str:
    """The sentence for an engine that a tenant needs and that is not there."""
    return f"The engine {version} is not installed. Install it: nagaya engine install {version}"


def damaged(version: str, problem: str) -> str:
    """The sentence for an engine that is there and cannot be used.

    Args:
        version: Which engine.
        problem: What is wrong with it, as part of a sentence.
    """
    return f"The engine {version} is damaged: {problem}. Repair it: nagaya engine install {version} --repair"


def is_about(sentence: str, version: str) -> bool:
    """Whether a sentence is one of the two above about this engine."""
    return sentence.startswith((f"The engine {version} is not installed.", f"The engine {version} is damaged:"))
