"""Transports: what carries bytes between an engine and a protocol."""
