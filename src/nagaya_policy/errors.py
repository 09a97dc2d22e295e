"""Errors of the policy engine; every one is a `ValueError` whose message is meant to be read by a person."""

from __future__ import annotations


class NagayaPolicyError(ValueError):
    """Base of all errors that this package raises."""


class ResourceError(NagayaPolicyError):
    """A resource string is not one that ZenML could have written."""


class ResourceScopeError(ResourceError):
    """A resource names a project where its type has none, or names none where its type needs one."""


class PolicyError(NagayaPolicyError):
    """A policy document, or a change of one, cannot be used."""


class PolicySchemaError(PolicyError):
    """The document is written in a schema that this version does not read."""


class PolicyBaseError(PolicyError):
    """A delta does not start at the version of the document that it was applied to: ask for the whole policy."""


class RoleError(NagayaPolicyError):
    """A role does not exist, or a custom role asks for something that its level cannot give."""
