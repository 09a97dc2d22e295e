"""The record of who changed what: `audit.record(work, "noun.verb", audit.Target(kind, id, name), …)`."""

from nagaya.audit.service import Target, record

__all__ = ["Target", "record"]
