"""HTTP on the wire: what the parser itself refuses, before there is a request, is answered as a problem, too."""

from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_URL_BYTES = 65535  # of httptools, which cannot take a longer one apart


class Wire(HttpToolsProtocol):
    """uvicorn's protocol, which says it in plain text."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP (400) or has too long an address (414), and close the connection."""
        # The server imports this module before it sets up Django, which the problems need.
        from memoryhub.core.errors import HubError, Invalid, UriTooLong
        from memoryhub.interface.problems import problem

        error: HubError = Invalid("This cannot be read as an HTTP request: its method, address or a header is wrong.")
        if len(getattr(self, "url", b"")) > MAX_URL_BYTES:
            error = UriTooLong(f"The address is longer than {MAX_URL_BYTES} bytes.")
        request_id = uuid4().hex
        status, headers, body = problem(error, request_id)
        headers |= {"Content-Length": str(len(body)), "Connection": "close", "X-Request-Id": request_id}
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode("latin-1") + b"\r\n" + body)
        self.transport.close()
