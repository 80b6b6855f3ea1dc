"""An S3 store (moto) behind a door that watches: it counts what is asked, and can fail on demand."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
from conftest import free_ports

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}
START_SECONDS_MAX = 30


@dataclass
class Request:
    method: str
    path: str
    range: str | None
    bytes: int


@dataclass
class Store:
    """`url` is the address of the door; `fault` sees each request and may answer in the store's
    place with a status, or with a number of bytes after which the body is cut off."""

    url: str
    client: object
    requests: list[Request] = field(default_factory=list)
    fault: Callable[[str, str], int | None] = lambda method, path: None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def upload(self, folder: Path, bucket: str, prefix: str = "") -> None:
        """All files below `folder`, under the same names."""
        for file in folder.rglob("*"):
            if file.is_file():
                key = f"{prefix}{file.relative_to(folder)}"
                self.client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    def bytes_read(self) -> int:
        """Of objects, since the last time."""
        read = sum(request.bytes for request in self.requests if request.range)
        self.requests.clear()
        return read


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Whoever asked may be gone."""


def serve() -> tuple[Store, Callable[[], None]]:
    """Starts a store; the second ends it."""
    behind, door_port = free_ports(2)
    moto = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(behind)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{behind}", region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            client.list_buckets()
            break
        except Exception:
            if time.monotonic() > deadline or moto.poll() is not None:
                moto.kill()
                raise
            time.sleep(0.1)
    store = Store(f"http://127.0.0.1:{door_port}", client)
    door = Quiet(("127.0.0.1", door_port), handler(store, behind))
    threading.Thread(target=door.serve_forever, daemon=True).start()

    def end() -> None:
        door.shutdown()
        door.server_close()
        moto.kill()
        moto.wait()

    return store, end


def handler(store: Store, behind: int) -> type[BaseHTTPRequestHandler]:
    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            fault = store.fault(self.command, self.path)
            if fault is not None and fault >= 400:
                self.answer(fault, {}, b"")
                return
            connection = http.client.HTTPConnection("127.0.0.1", behind, timeout=30)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            reply = connection.getresponse()
            body = reply.read()
            headers = dict(reply.getheaders())
            connection.close()
            wanted = self.headers.get("Range")
            store.requests.append(Request(self.command, self.path, wanted, len(body)))
            self.answer(reply.status, headers, body, cut=fault)

        def answer(self, status: int, headers: dict, body: bytes, cut: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("connection", "date", "server", "transfer-encoding"):
                    self.send_header(name, value)
            if not any(name.lower() == "content-length" for name in headers):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if cut is None else body[:cut])
            self.close_connection = cut is not None

        do_GET = do_HEAD = pass_on

        def log_message(self, *_: object) -> None:
            pass

    return Door
