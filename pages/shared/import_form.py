"""What is to be imported: the kind, the file, how it is read, and which column fills which field (row B11)."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lib import import_downloads, import_files, imports
from lib.errors import Invalid
from lib.import_fields import Kind
from lib.import_files import DELIMITERS, ENCODINGS, Form
from lib.import_kinds import KINDS
from lib.import_rows import Reading
from pages.shared import session, ui

# Counted up when a file was handed over: the next one starts with an empty field.
UPLOADS = "import_uploads"
_HEAD = "import_head"
_IGNORED = "Not imported"


@dataclass(frozen=True)
class Chosen:
    """A file and how it is to be read. `key` is different for each file and way."""

    kind: Kind
    file_name: str
    content: bytes
    reading: Reading
    key: tuple[Any, ...]


@dataclass(frozen=True)
class _Head:
    """What is kept of a file between runs: all of it would fill the memory of the server."""

    form: Form
    header: list[str]
    examples: list[str]
    rows: int
    matched: dict[str, int]


def draw() -> Chosen | None:
    """The form; what was chosen, once a file is there that can be read."""
    kind = _draw_kind()
    file = st.file_uploader(
        "CSV file", key=f"import_file_{st.session_state.get(UPLOADS, 0)}",
        max_upload_size=import_files.MOST_BYTES // 2**20,
        help="Semicolon, comma or tab between the cells; UTF-8 or Windows-1252. The first line holds the headings.",
    )  # fmt: skip
    if file is None:
        return None
    content = file.getvalue()
    try:
        head = _head(file.file_id, content, kind, _form(file.file_id))
    except Invalid as refused:
        st.error(ui.escaped(str(refused)), icon=":material/error:")
        _draw_form(file.file_id, None)
        return None
    many = "1 row" if head.rows == 1 else f"{head.rows:,} rows"
    said = f"{many}, {len(head.header)} columns · {DELIMITERS[head.form.delimiter]} · {ENCODINGS[head.form.encoding]}"
    st.caption(f"{ui.escaped(file.name)}: {said}")
    columns = _draw_columns(file.file_id, kind, head)
    if columns is None:
        return None
    empties = bool(st.session_state.get(f"import_empties_{file.file_id}", False))
    reading = Reading(head.form, columns, empties)
    key = (file.file_id, kind.name, head.form, tuple(sorted(columns.items())), empties)
    return Chosen(kind, file.name, content, reading, key)


def _draw_kind() -> Kind:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.segmented_control(
            "What the file holds", list(KINDS), format_func=lambda one: KINDS[one].label, default="customers",
            required=True, key="import_kind", bind="query-params", wrap=True,
        )  # fmt: skip
        kind = imports.kind(str(name))
        st.space("stretch")
        st.download_button(
            "Template", import_downloads.template(kind), f"{kind.name}.csv", "text/csv", key=f"template_{kind.name}",
            icon=":material/download:", on_click="ignore",
            help="A CSV file with all columns that may be there, and one row as an example.",
        )  # fmt: skip
    st.caption(f"Each row is {kind.row}. {kind.about}")
    return kind


# ---------------------------------------------------------------------------------- how it is read


def _form(file_id: str) -> Form | None:
    """The form that a person chose instead of the recognised one."""
    delimiter = st.session_state.get(f"import_delimiter_{file_id}")
    encoding = st.session_state.get(f"import_encoding_{file_id}")
    return Form(encoding, delimiter) if delimiter and encoding else None


def _head(file_id: str, content: bytes, kind: Kind, form: Form | None) -> _Head:
    key = (file_id, kind.name, form)
    kept = st.session_state.get(_HEAD)
    if kept is None or kept[0] != key:
        with st.spinner("Reading the file …"):
            sheet, reading = imports.opened(content, kind, form=form)
        examples = [next((cell for cell in column[:100] if cell.strip()), "") for column in sheet.columns]
        kept = (key, _Head(sheet.form, sheet.header, examples, sheet.rows, dict(reading.columns)))
        st.session_state[_HEAD] = kept
    found: _Head = kept[1]
    return found


def _draw_form(file_id: str, form: Form | None) -> None:
    """The recognised form, which a person may know better."""
    with st.container(horizontal=True):
        st.selectbox(
            "Between the cells", list(DELIMITERS), format_func=lambda one: DELIMITERS[one],
            key=f"import_delimiter_{file_id}", index=list(DELIMITERS).index(form.delimiter) if form else None,
            width=180, placeholder="Recognised",
        )  # fmt: skip
        st.selectbox(
            "Encoding", list(ENCODINGS), format_func=lambda one: ENCODINGS[one], key=f"import_encoding_{file_id}",
            index=list(ENCODINGS).index(form.encoding) if form else None, width=180, placeholder="Recognised",
        )  # fmt: skip


# ---------------------------------------------------------------------------------- which column is which field


def _draw_columns(file_id: str, kind: Kind, head: _Head) -> dict[str, int] | None:
    """Which field each column fills; None where that can't be."""
    by_column = {index: name for name, index in head.matched.items()}
    # Another form has other columns, so their widgets are others, too.
    prefix = f"import_column_{file_id}_{kind.name}_{ord(head.form.delimiter)}"
    chosen = {
        index: st.session_state.get(f"{prefix}_{index}", by_column.get(index, "")) for index in range(len(head.header))
    }
    ignored = [head.header[index] for index, name in chosen.items() if not name]
    missing = [one.label for one in kind.fields if one.needed and one.name not in chosen.values()]
    label = f"Columns: {len(head.header) - len(ignored)} of {len(head.header)} are imported"
    with st.expander(label, expanded=bool(missing), icon=":material/view_column:", key=f"{prefix}_all"):
        _draw_form(file_id, head.form)
        if any(one.clears for one in kind.fields):
            st.toggle(
                "An empty cell empties its field", key=f"import_empties_{file_id}",
                help="Off: an empty cell leaves the field as it is. Fields that can't be empty stay either way.",
            )  # fmt: skip
        names = {"": _IGNORED} | {one.name: f"{one.label}{' *' if one.needed else ''}" for one in kind.fields}
        with st.grid(3, gap="small", min_column_width=220):
            for index, heading in enumerate(head.header):
                st.selectbox(
                    ui.escaped(heading) or f"Column {index + 1}", list(names),
                    index=list(names).index(by_column.get(index, "")), format_func=names.__getitem__,
                    key=f"{prefix}_{index}",
                    help=f"Such as: {ui.escaped(head.examples[index][:60])}" if head.examples[index] else None,
                )  # fmt: skip
    if ignored:
        left_out = ", ".join(heading or "(no heading)" for heading in ignored)
        st.caption(f"Not imported: {ui.escaped(left_out)}")
    twice = [kind.field(name).label for name, times in Counter(chosen.values()).items() if name and times > 1]
    if missing or twice:
        _refuse(missing, twice)
        return None
    return {name: index for index, name in chosen.items() if name}


def _refuse(missing: list[str], twice: list[str]) -> None:
    if missing:
        st.error(f"No column is matched to {' and '.join(missing)}. Choose it above.", icon=":material/error:")
    for label in twice:
        st.error(f"Two columns are matched to {label}. Choose one of them above.", icon=":material/error:")


def forget() -> None:
    """For the next file: an empty form."""
    st.session_state[UPLOADS] = st.session_state.get(UPLOADS, 0) + 1
    st.session_state.pop(_HEAD, None)
    session.result()
