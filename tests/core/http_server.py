"""A file server on 127.0.0.1 that misbehaves on request. Knows nothing of napari-sam."""

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How one request is answered.

    Attributes
    ----------
    status
        Anything but 200: that answer, without the file.
    send
        How many bytes of the body to send before the connection is cut; None: all.
    ranges
        Whether a Range header is heeded.
    shift
        By how many bytes the answer to a Range request starts too early.
    length
        Whether the length of the body is announced.
    reset
        Cut the connection without any answer.
    pause_s
        Seconds to wait after each piece of the body.
    """

    status: int = 200
    send: int | None = None
    ranges: bool = True
    shift: int = 0
    length: bool = True
    reset: bool = False
    pause_s: float = 0.0


@dataclass
class FileServer:
    """Serves ``content`` under every path while entered; the last behaviour repeats.

    Attributes
    ----------
    content
        The file.
    behaviours
        For the first, second ... request.
    ranges
        The Range header of each request so far, None where there was none.
    """

    content: bytes
    behaviours: list[Behaviour] = field(default_factory=lambda: [Behaviour()])
    ranges: list[str | None] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Start to serve on a free port."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop and close the port."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self._http.server_port}/files/weights.pth"

    def next_behaviour(self, asked: str | None) -> Behaviour:
        """Note the request and say how to answer it."""
        self.ranges.append(asked)
        return self.behaviours[min(len(self.ranges), len(self.behaviours)) - 1]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, files: FileServer, *args: Any) -> None:
        self.files = files
        super().__init__(*args)

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        behaviour = self.files.next_behaviour(asked)
        self.close_connection = True
        if behaviour.reset:
            return
        if behaviour.status != 200:
            self.send_error(behaviour.status)
            return
        content = self.files.content
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and behaviour.ranges else 0
        if start >= len(content) > 0 and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        start -= behaviour.shift if start else 0
        self._send_file(content, start, behaviour)

    def _send_file(self, content: bytes, start: int, behaviour: Behaviour) -> None:
        self.send_response(206 if start else 200)
        if start:
            end = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        if behaviour.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:] if behaviour.send is None else content[start:][: behaviour.send]
        for i in range(0, len(body), 1 << 16):
            try:
                self.wfile.write(body[i : i + (1 << 16)])
            except ConnectionError:
                return  # the client went away
            time.sleep(behaviour.pause_s)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
