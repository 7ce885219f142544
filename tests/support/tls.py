"""TLS contexts from certificates that exist for the tests alone."""

from __future__ import annotations

import ssl
from pathlib import Path

_CERTIFICATES = Path(__file__).parent / "certs"
AUTHORITY = _CERTIFICATES / "authority.pem"
LOCALHOST = _CERTIFICATES / "localhost.pem"


def server_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Presents a certificate for localhost, 127.0.0.1 and ::1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(LOCALHOST)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def client_context() -> ssl.SSLContext:
    """Trusts the tests' authority and nobody else."""
    return ssl.create_default_context(cafile=str(AUTHORITY))


def distrustful_context() -> ssl.SSLContext:
    """Trusts nobody: every handshake fails."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
