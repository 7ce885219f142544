"""`python -m evenloop` is the `evenloop` command."""

import sys

from evenloop.cli import main

sys.exit(main())
