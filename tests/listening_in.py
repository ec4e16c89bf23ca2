"""A proxy before the sandbox that keeps every request as it stood on the wire."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_plus, urlsplit

HOP = frozenset(("connection", "transfer-encoding", "content-length", "keep-alive"))


class Ear:
    """What was said, request by request: the first line, the headers and the body."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.address = ""

    def hosts(self) -> set[str]:
        """Whom it was said to: the first step of the sandbox's addresses."""
        return {one.split(b" ", 2)[1].split(b"/")[1].decode() for one in list(self.heard)}

    def plainly(self) -> bytes:
        """All of it, as it stood and with percent signs read."""
        said = b"\n".join(self.heard)
        return said + b"\n" + unquote_plus(said.decode("utf-8", "replace")).encode()


@contextmanager
def listening_in(sandbox: str) -> Iterator[Ear]:
    """The proxy, while the block runs."""
    ear, there = Ear(), urlsplit(sandbox).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            ear.heard.append(f"{self.requestline}\n{self.headers}\n".encode("utf-8", "replace") + body)
            connection = http.client.HTTPConnection(there, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                said = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
            finally:
                connection.close()

        do_GET = do_POST = do_DELETE = do_PUT = pass_on  # noqa: N815 - the names that http.server looks for

        def log_message(self, *words: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    ear.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield ear
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
