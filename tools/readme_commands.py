"""Prints the commands that README.md gives under a name, so that CI runs what readers run.

A block counts that has the name in a comment on a line before it, blank lines aside:

    <!-- ci: install -->
    ```sh
    python -m pip install ...
    ```

Usage: python tools/readme_commands.py NAME [FILE]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def commands(text: str, name: str) -> list[str]:
    """The blocks marked with `name`, without prompts."""
    block = rf"^<!-- ci: {re.escape(name)} -->\s*\n```\w*\n(.*?)^```"
    found = re.findall(block, text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"^\$ ", "", each, flags=re.MULTILINE) for each in found]


def main() -> int:
    """Print the blocks, or say that there are none."""
    name, file = sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "README.md")
    found = commands(file.read_text(encoding="utf-8"), name)
    if not found:
        print(f"{file}: no block is marked <!-- ci: {name} -->", file=sys.stderr)
        return 1
    print("".join(found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
