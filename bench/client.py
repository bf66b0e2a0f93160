"""A browser tab reduced to its WebSocket: asks a running server to rerun a page and times the answer.

It speaks the protocol that Streamlit's own front end speaks: a ClientState with the values of all
widgets goes out, deltas come back until `script_finished`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf.message import Message
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from lib.sessions import SESSION_COOKIE

# How the front end sends each kind of widget: the field of WidgetState for its value.
FIELDS = {str: "string_value", int: "int_value", bool: "bool_value"}


class Tab:
    """An open page. `rerun` sets widgets by their key and returns the seconds until the run finished."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._script = ""
        self._page = ""

    def open(self, page: str) -> float:
        """Load a page by its path, as a navigation does."""
        self._page, self._values, self._script = page, {}, ""
        return self._run()

    def rerun(self, **values: Any) -> float:
        """Set these widgets (the others keep their values) and run the page again."""
        self._values |= values
        return self._run()

    def _run(self) -> float:
        message = BackMsg()
        state = message.rerun_script
        state.page_script_hash, state.page_name = self._script, "" if self._script else self._page
        for key, value in self._values.items():
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
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(bytes(self._connection.recv(timeout=120)))
            kind = answer.WhichOneof("type")
            if kind == "new_session":
                self._script = answer.new_session.page_script_hash
            elif kind == "delta":
                for widget_id in _widget_ids(answer.delta):
                    self._ids[widget_id.rsplit("-", 1)[-1]] = widget_id
            elif kind == "script_finished":
                if answer.script_finished != ForwardMsg.ScriptFinishedStatus.FINISHED_SUCCESSFULLY:
                    if answer.script_finished == ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN:
                        continue
                    raise RuntimeError(f"The page {self._page} ended with status {answer.script_finished}.")
                return


@contextmanager
def tab(port: int, *, token: str) -> Iterator[Tab]:
    """A tab of a signed-in browser on the server at `port`."""
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    headers = {"Cookie": f"{SESSION_COOKIE}={token}"}
    with connect(
        address, origin=f"http://127.0.0.1:{port}", additional_headers=headers, max_size=None, subprotocols=["streamlit"]
    ) as connection:
        yield Tab(connection)


def _widget_ids(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.name == "id" and isinstance(value, str) and value.startswith("$$"):
            yield value
        elif field.message_type is not None:
            for child in [value] if isinstance(value, Message) else value:
                if isinstance(child, Message):
                    yield from _widget_ids(child)
