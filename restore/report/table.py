"""Tables as aligned Markdown: readable in a terminal, and to be pasted as they are."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table; the first column is text, the others are numbers and stand to the right."""
    cells = [[_cell(text) for text in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [_line(row, widths) for row in cells]
    rule = "|".join("-" * (width + 2) if not column else "-" * (width + 1) + ":" for column, width in enumerate(widths))
    return "\n".join((lines[0], f"|{rule}|", *lines[1:]))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    return "| " + " | ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\r", "\\r").replace("\n", "\\n")
