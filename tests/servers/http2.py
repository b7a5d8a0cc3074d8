"""HTTP/2 by hand, in clear and with prior knowledge (RFC 9113 section 3.3): a request as it is, and what comes back.

httpx would put a request in order; here a server gets it as a case has it.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from tests.servers.launching import Running
from tests.servers.wire import Answer

__all__ = ["exchange_http2"]


def exchange_http2(
    server: Running, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> Answer:
    """Send a request on a connection of its own and read the answer; status 0 where there is none.

    Host becomes ``:authority``, and Connection is left out, as RFC 9113 section 8 wants it.
    """
    connection = H2Connection(
        H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
    )
    lowered = [(name.lower(), value) for name, value in headers]
    authority = b"".join(value for name, value in lowered if name == b"host")
    fields = [
        (b":method", method.encode("latin-1")),
        (b":scheme", b"http"),
        (b":authority", authority),
        (b":path", target),
        *((name, value) for name, value in lowered if name not in (b"host", b"connection")),
    ]
    answer = Answer(0, [], b"", complete=False)
    with server.connect() as wire:
        connection.initiate_connection()
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, fields, end_stream=not body)
        ended = False
        while not ended:
            while body and (window := connection.local_flow_control_window(stream)):
                room = min(window, connection.max_outbound_frame_size)
                piece, body = body[:room], body[room:]
                connection.send_data(stream, piece, end_stream=not body)
            wire.sendall(connection.data_to_send())
            try:
                data = wire.recv(65_536)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            for event in connection.receive_data(data):
                if isinstance(event, ResponseReceived) and event.stream_id == stream:
                    pairs = [
                        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in event.headers
                    ]
                    answer.status = int(next(value for name, value in pairs if name == ":status"))
                    answer.headers = [pair for pair in pairs if not pair[0].startswith(":")]
                elif isinstance(event, DataReceived) and event.stream_id == stream:
                    answer.body += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, StreamEnded) and event.stream_id == stream:
                    answer.complete = ended = True
                elif isinstance(event, StreamReset | ConnectionTerminated):
                    ended = True
                    body = b""
    return answer


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode("latin-1")
