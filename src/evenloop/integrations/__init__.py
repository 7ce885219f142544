"""Plugins for other programs. Nothing of evenloop imports them, and none is needed to run it."""
