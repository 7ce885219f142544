"""The platform-support page of the documentation, made from the table."""

from __future__ import annotations

from evenloop.platforms.probe import DOCUMENTATION

__all__ = ["markdown"]

_HEAD = """\
# Platform support

What the documentation of asyncio says is missing or different somewhere, row by row, and what
evenloop makes of it. The ids are stable: errors of profiles, `evenloop doctor`, `evenloop check`
and the tests name them. `evenloop doctor` tries every row on your machine, on asyncio's own loop
and on evenloop.
"""


def markdown() -> str:
    """Return the page, as Markdown."""
    from evenloop.platforms.profiles import NAMES, of
    from evenloop.platforms.table import ROWS

    lines = [_HEAD, "## In short", "", "| row | where | asyncio | evenloop |", "|---|---|---|---|"]
    for row in ROWS:
        cells = (
            f"[{row.id}](#{row.id.lower()})",
            row.where,
            row.documented,
            row.lifted,
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    lines += [
        "",
        "## Profiles",
        "",
        "| profile | asyncio's loop on | rows that limit it |",
        "|---|---|---|",
    ]
    for name in NAMES:
        if name == "stock":
            continue
        limited = ", ".join(row.id for row in ROWS if name in row.profiles)
        lines.append(f"| `{name}` | {of(name).title} | {limited or 'none'} |")
    lines += ["", "`stock` is the one of this machine.", "", "## The rows", ""]
    for row in ROWS:
        lines += [
            f"### {row.id}",
            "",
            f"**{row.where}.** {_sentence(row.documented)} ([documented]({DOCUMENTATION}"
            f"{row.section}), since: {row.since}.)",
            "",
            f"- evenloop: {row.lifted}.",
            f"- Under a profile: {row.restriction}.",
        ]
        for name, refusal in row.refusals.items():
            number = "" if refusal.errno is None else f" (errno {refusal.errno})"
            by = f", by {refusal.by}" if refusal.by else ""
            if refusal.told:
                lines.append(f"    - `{name}`: {refusal.exception.__name__}{number}{by}")
        lines += [f"- Proven by `{row.test}`.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
