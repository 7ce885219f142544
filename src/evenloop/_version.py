"""The version, in one place: the build reads this file, the package imports it."""

__version__ = "0.1.0.dev0"
