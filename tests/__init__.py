"""The tests of evenloop."""
