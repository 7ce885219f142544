"""The certificate of the TLS cases, and its authority: both public, good for nothing else."""

from __future__ import annotations

import hashlib
import os
import ssl
from functools import cache

from evenloop.bench.native import cache_folder

__all__ = ["client_context", "server_context"]

IDENTITY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBOcxKH0egrAk53uU
aVbR7lEjOFqI4qJCHpHVGyUiyzmhRANCAARfe/fBKLDyOL01RoO2KfJJPe5je4Bj
QlBkUwwkOdqDPHIKG5Of6khN66Rw4133QgHOAMlFzoIXrZeaQXg+mwxi
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIByTCCAW+gAwIBAgIUL6wDvghAcXFH7EoSyfNSzOdPOzAwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTZXZlbmxvb3AgYmVuY2htYXJrczAgFw0yNjExMjIxNjIzMzla
GA8yMTI2MTAyOTE2MjMzOVowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEX3v3wSiw8ji9NUaDtinyST3uY3uAY0JQZFMMJDna
gzxyChuTn+pITeukcONd90IBzgDJRc6CF62XmkF4PpsMYqOBkjCBjzAMBgNVHRMB
Af8EAjAAMA4GA1UdDwEB/wQEAwIHgDATBgNVHSUEDDAKBggrBgEFBQcDATAaBgNV
HREEEzARgglsb2NhbGhvc3SHBH8AAAEwHwYDVR0jBBgwFoAUsVvIY5x8Y33WeBxg
K0WNBTe+YkcwHQYDVR0OBBYEFOpJjpIGqJm6k0mop3u/jWQ7JSSJMAoGCCqGSM49
BAMCA0gAMEUCIBBJzRgXddYbwwfvynhAlD6kwYmlFoncVEaf/s9ApcNoAiEA4Lt5
95sIFpudsPdT9R2P0PCEhDkuCxK2d3lMTEe3DmY=
-----END CERTIFICATE-----
"""
AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBojCCAUmgAwIBAgIUY08gBEEY+3DxWm5RF19QMil3wXkwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTZXZlbmxvb3AgYmVuY2htYXJrczAgFw0yNjExMjIxNjIzMzla
GA8yMTI2MTAyOTE2MjMzOVowHjEcMBoGA1UEAwwTZXZlbmxvb3AgYmVuY2htYXJr
czBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBaWHqQAHim8IRfByS6AnDfs8DDT
c7HDuh79G32Z5E2D+Vr2cXQ993rfwDXU1HuWkle7sir9zWOC/b1ED1xxMNOjYzBh
MB0GA1UdDgQWBBSxW8hjnHxjfdZ4HGArRY0FN75iRzAfBgNVHSMEGDAWgBSxW8hj
nHxjfdZ4HGArRY0FN75iRzAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIC
BDAKBggqhkjOPQQDAgNHADBEAiB9igO2AURnh533Mjoaz2I9PEZOpgpxWFn0mLb3
2blN3wIgFtxcTTM1+lfkx2MfKxV9P5Rfo4vtNJ5O5hN+cJeWPI4=
-----END CERTIFICATE-----
"""


@cache
def _file(text: str) -> str:
    """The path of a file with this text. It stays: rsloop reads it again for each connection."""
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = os.path.join(cache_folder(), f"{mark}.pem")
    if not os.path.exists(path):
        fresh = f"{path}.{os.getpid()}"
        with open(fresh, "w", encoding="ascii") as file:
            file.write(text)
        os.replace(fresh, path)
    return path


@cache
def server_context() -> ssl.SSLContext:
    """The standard library's own context, with its defaults."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_file(IDENTITY))
    return context


@cache
def client_context() -> ssl.SSLContext:
    """A client that trusts this authority, and checks certificate and name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(_file(AUTHORITY))
    return context
