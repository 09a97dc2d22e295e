"""Fixtures of the pages' tests: those of the api."""

from tests.api.conftest import fixture_settled, fixture_world, logs, settled_template, template

__all__ = ["fixture_settled", "fixture_world", "logs", "settled_template", "template"]
