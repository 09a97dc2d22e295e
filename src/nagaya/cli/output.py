"""What commands print: tables and sentences for people, JSON for programs."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STATUS_STYLES = {
    "available": "green",
    "awake": "green",
    "running": "cyan",
    "succeeded": "green",
    "ok": "green",
    "pending": "yellow",
    "warning": "yellow",
    "failed": "red",
    "error": "red",
    "deleted": "dim",
    "deactivated": "dim",
    "asleep": "dim",
}


class Output:
    """Standard output for results, standard error for progress and remarks.

    Args:
        as_json: Print results as JSON and no remarks.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, soft_wrap=True)
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def json(self, value: Any) -> None:
        """Prints a JSON document."""
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str) -> None:
        """Prints a list of objects.

        Args:
            rows: The objects, printed whole as JSON.
            columns: Heading by dotted path of the value (`organization.name`).
            empty: Sentence for people when there is nothing.
        """
        if self.as_json:
            self.json(list(rows))
            return
        if not rows:
            self.note(empty)
            return
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in columns.values():
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*(cell(pick(row, path)) for path in columns))
        # A pipe has no width: without soft wrapping rich would cut names at 80 columns.
        console = self.console if self.console.is_terminal else Console(highlight=False, width=2000)
        console.print(table)

    def item(self, value: Mapping[str, Any], fields: Mapping[str, str]) -> None:
        """Prints one object: whole as JSON, or the `fields` (heading by dotted path) that have a value."""
        if self.as_json:
            self.json(value)
            return
        width = max(len(heading) for heading in fields.values()) + 2
        for path, heading in fields.items():
            found = pick(value, path)
            if found not in (None, "", [], {}):
                self.console.print(f"[bold]{heading:{width}}[/bold]{cell(found)}")

    def result(self, sentence: str, value: Any) -> None:
        """Prints the outcome of an action: a sentence, or `value` as JSON."""
        if self.as_json:
            self.json(value)
        else:
            self.console.print(escape(sentence))

    def plain(self, text: str) -> None:
        """Prints text as it is, without styles, to standard output."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def note(self, sentence: str) -> None:
        """Prints a remark for people."""
        if not self.as_json:
            self.errors.print(escape(sentence))


def pick(value: Any, path: str) -> Any:
    """The value at a dotted path, None where the path ends early."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def cell(value: Any) -> str:
    """One value as a person reads it, with markup in the data made harmless."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return escape(", ".join(f"{key}={item}" for key, item in value.items()))
    if isinstance(value, list):
        return escape(", ".join(str(item) for item in value))
    text = local_time(str(value))
    style = STATUS_STYLES.get(text)
    return f"[{style}]{text}[/{style}]" if style else escape(text)


def local_time(text: str) -> str:
    """An ISO 8601 time with seconds in the local zone; any other text unchanged."""
    if len(text) < 19 or text[4:5] != "-" or text[10:11] not in {"T", " "}:
        return text
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
