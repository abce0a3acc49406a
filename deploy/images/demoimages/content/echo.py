"""Answers each HTTP request with a word, the host's name, and the request itself.

Environment: PORT (8080), WORD (empty). Few modules are imported, since each costs start time in an emulated machine.
"""

import os
import signal
import socket
import sys
import threading

MAX_HEADER = 16384  # bytes
MAX_CONNECTIONS = 64
TIMEOUT = 10.0  # seconds that a client may stay silent


def read_header(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < MAX_HEADER:
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    return data.partition(b"\r\n\r\n")[0]


def answer(header: bytes, client: str) -> bytes:
    lines = [f"word: {os.environ.get('WORD', '')}", f"host: {socket.gethostname()}", f"client: {client}", ""]
    body = "\n".join(lines).encode() + header.replace(b"\r\n", b"\n") + b"\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def serve(connection: socket.socket, client: str, free: threading.Semaphore) -> None:
    try:
        with connection:
            connection.settimeout(TIMEOUT)
            header = read_header(connection)
            if header:
                connection.sendall(answer(header, client))
                print(client, header.partition(b"\r\n")[0].decode("latin-1"))
    except OSError as error:
        print(client, error, file=sys.stderr)
    finally:
        free.release()


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # process 1 has no default action for them
        signal.signal(number, lambda *_: sys.exit(0))
    port = int(os.environ.get("PORT", "8080"))
    free = threading.Semaphore(MAX_CONNECTIONS)
    with socket.create_server(("0.0.0.0", port), backlog=128) as server:
        print(f"listening on port {port}")
        while True:
            free.acquire()
            connection, (client, _) = server.accept()
            threading.Thread(target=serve, args=(connection, client, free), daemon=True).start()


if __name__ == "__main__":
    main()
