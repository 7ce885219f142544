"""A small HTTPS server, with nothing but the standard library.

    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \\
        -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
    evenloop run examples/tls_server.py cert.pem key.pem 8443
    curl --cacert cert.pem https://localhost:8443/
"""

import asyncio
import ssl
import sys


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request: GET answers with its path, POST with the body that it got."""
    request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, path, _ = request.split("\r\n", 1)[0].split(" ")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in request.split("\r\n")[1:])
    }
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    if method == "GET":
        body = f"you asked for {path} over {writer.get_extra_info('cipher')[1]}\n".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main(certificate: str, key: str, port: int) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=context)
    print("listening on port", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
