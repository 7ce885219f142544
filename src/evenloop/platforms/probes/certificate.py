"""A certificate for localhost, so that TLS can be probed on a machine without any.

It signs itself, is trusted by nothing but the probes, and its key is public: it protects nothing.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["contexts"]

_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBwDCCAWWgAwIBAgIUT6gqQCy5sJkRukYE9MTZGi1y6pEwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMTkxMjMx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASQxq6aWmrZPMlBJt4+CGWg3aBigyicQbKPTsitqAV72hyyFC+yU7h3
bMW158O4o+RZNo+lO5giZbtUElXkLUr3o4GSMIGPMCwGA1UdEQQlMCOCCWxvY2Fs
aG9zdIcEfwAAAYcQAAAAAAAAAAAAAAAAAAAAATAPBgNVHRMBAf8EBTADAQH/MA4G
A1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQU+oJ0cO/pscSwLxhhV4tZsrcrxKswHwYD
VR0jBBgwFoAU+oJ0cO/pscSwLxhhV4tZsrcrxKswCgYIKoZIzj0EAwIDSQAwRgIh
AMLo7LX4WtKLubDL4yoYiv9iYP3+frWXgSIfXTUjFs4zAiEA3QLSdb6I/u0PjUwB
ZvgMk2pWRSONve8SmDTY1bzHHk0=
-----END CERTIFICATE-----
"""

_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgtDXKv6RVUzuhrudb
RefRTTKpRkf48N7jMIuC22JZqYGhRANCAASQxq6aWmrZPMlBJt4+CGWg3aBigyic
QbKPTsitqAV72hyyFC+yU7h3bMW158O4o+RZNo+lO5giZbtUElXkLUr3
-----END PRIVATE KEY-----
"""


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's context, and a client's that trusts that server and checks its name.

    Args:
        folder: Where the ssl module can read the certificate from a file.
    """
    file = folder / "localhost.pem"
    file.write_text(_KEY + _CERTIFICATE, encoding="ascii")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=_CERTIFICATE)
    return server, client
