"""A browser tab reduced to its WebSocket: asks a running server to rerun a page and times the answer.

It speaks the protocol that Streamlit's own front end speaks: a ClientState with the values of widgets
goes out, deltas come back until `script_finished`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import Message
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets import Origin
from websockets.sync.client import ClientConnection, connect

from lib.sessions import SESSION_COOKIE

# How the front end sends each kind of widget: the field of WidgetState for its value.
FIELDS = {str: "string_value", int: "int_value", bool: "bool_value"}


class Tab:
    """An open page, whose widgets are set by their keys."""

    def __init__(self, connection: ClientConnection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._script = ""
        self._ids: dict[str, str] = {}
        self.received = 0

    def run(self, **values: str | int | list[str]) -> float:
        """Run the page with these widget values; the seconds until it finished. `received` is in bytes."""
        message = BackMsg()
        state = message.rerun_script
        state.page_script_hash = self._script
        state.page_name = "" if self._script else self._path
        for key, value in values.items():
            widget = state.widget_states.widgets.add()
            widget.id = self._ids[key]
            if isinstance(value, list):
                widget.string_array_value.data.extend(value)
            else:
                setattr(widget, FIELDS[type(value)], value)
        started = time.perf_counter()
        self._connection.send(message.SerializeToString())
        self._read()
        return time.perf_counter() - started

    def _read(self) -> None:
        self.received = 0
        while True:
            content = self._connection.recv(timeout=120, decode=False)
            self.received += len(content)
            answer = ForwardMsg()
            answer.ParseFromString(content)
            kind = answer.WhichOneof("type")
            if kind == "navigation":
                self._script = answer.navigation.page_script_hash
            elif kind == "delta" and answer.delta.new_element.WhichOneof("type") == "exception":
                raise RuntimeError(f"/{self._path} failed: {answer.delta.new_element.exception.message}")
            elif kind == "delta":
                self._ids |= {widget_id.split("-", 2)[-1]: widget_id for widget_id in _widget_ids(answer.delta)}
            elif kind == "script_finished":
                status = ForwardMsg.ScriptFinishedStatus.Name(answer.script_finished)
                if status == "FINISHED_SUCCESSFULLY":
                    return
                if status != "FINISHED_EARLY_FOR_RERUN":
                    raise RuntimeError(f"/{self._path} ended with {status}.")


@contextmanager
def tab(port: int, path: str, *, token: str) -> Iterator[Tab]:
    """A tab of a signed-in browser at `path` of the server at `port`."""
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    headers = {"Cookie": f"{SESSION_COOKIE}={token}"}
    origin = Origin(f"http://127.0.0.1:{port}")
    with connect(address, origin=origin, additional_headers=headers, max_size=None) as connection:
        yield Tab(connection, path)


def _widget_ids(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.name == "id" and isinstance(value, str) and value.startswith("$$"):
            yield value
        elif field.message_type is not None:
            for child in [value] if isinstance(value, Message) else value:
                if isinstance(child, Message):
                    yield from _widget_ids(child)
