"""A program that fails with an error of its own."""

raise BrokenPipeError("mine")
