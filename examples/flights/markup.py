"""HTML in which every text from outside is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

Cell = str | int | float


def element(tag: str, text: str) -> str:
    """An element around plain text."""
    return f"<{tag}>{escape(text)}</{tag}>"


def items(texts: Iterable[str]) -> str:
    """A list of plain texts."""
    return "<ul>" + "".join(element("li", text) for text in texts) + "</ul>"


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table whose first column heads its rows; numbers are set right, floats to one decimal.

    It scrolls on its own where the page is narrower, and can be reached by keyboard for that.
    """
    body = list(rows)
    numeric = [not isinstance(cell, str) for cell in body[0]] if body else [False] * len(heads)
    head = "".join(
        f'<th scope="col"{_right(number)}>{escape(text)}</th>'
        for text, number in zip(heads, numeric, strict=True)
    )
    lines = "".join(f"<tr>{_row(row)}</tr>" for row in body)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _row(row: Sequence[Cell]) -> str:
    first, *others = row
    return f'<th scope="row">{escape(_text(first))}</th>' + "".join(
        f"<td{_right(not isinstance(cell, str))}>{escape(_text(cell))}</td>" for cell in others
    )


def _right(number: bool) -> str:
    return ' class="number"' if number else ""


def _text(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:,.1f}".replace("-", "−")
    return f"{cell:,}" if isinstance(cell, int) else cell
