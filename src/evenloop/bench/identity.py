"""The certificate of the TLS cases. It is self-signed, public, and proves nothing to anyone."""

from __future__ import annotations

import os
import ssl
import tempfile
from functools import cache

__all__ = ["PEM", "client_context", "pem_file", "server_context"]

PEM = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyg+3l4aIqSe9AgXq
NiZ+gFwwe3RCfr087wX35Jxwnf6hRANCAARIbKxSSMFs4RkJCBe11KNus5TPhGeL
tvW+sH3D6nWaXFRmhUuJ4Icfw0yNQSGhAv+molP5B3ZZSbJ27D4wwCcF
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUYB4R1/xa/09DG46Ou7Vjy94c3hAwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE1NDMxMVoYDzIxMjYxMDI5
MTU0MzExWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARIbKxSSMFs4RkJCBe11KNus5TPhGeLtvW+sH3D6nWaXFRmhUuJ4Icf
w0yNQSGhAv+molP5B3ZZSbJ27D4wwCcFo28wbTAdBgNVHQ4EFgQUSmF94FN6d5kh
BDSrWowkR3TryFwwHwYDVR0jBBgwFoAUSmF94FN6d5khBDSrWowkR3TryFwwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAOZrRQ3dtxjH2ecShpu9cW/yc30Qc5e5MaPmPIcYb7q7AiEA
3Nv0F5Xo2i4WgVWyEU5xkUWt1Ntx+y7qbLIq7UV2M9o=
-----END CERTIFICATE-----
"""


def pem_file(folder: str) -> str:
    """Write the key and the certificate to a file in a folder."""
    path = os.path.join(folder, "identity.pem")
    with open(path, "w", encoding="ascii") as file:
        file.write(PEM)
    return path


@cache
def server_context() -> ssl.SSLContext:
    """The standard library's own context, with its defaults."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(pem_file(folder))
    return context


@cache
def client_context() -> ssl.SSLContext:
    """A client that trusts this certificate and checks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=PEM[PEM.index("-----BEGIN CERTIFICATE") :])
    return context
