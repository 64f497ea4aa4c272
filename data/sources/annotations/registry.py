"""Reads queries, questions, statements and captions in the form in which they are published."""

import difflib
import importlib
import itertools
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.arguments import user_path
from data.errors import InputError
from data.report import Report
from data.sources.annotations.base import Annotation, AnnotationForm
from data.sources.json_files import Mistake

# Modules of this package, each with a `FORM`; the command's help lists them in this order.
_MODULES = (
    "plain",
    "tvr",
    "tvc",
    "tvqa",
    "violin",
    "how2r",
    "how2qa",
    "didemo",
    "msrvtt",
    "qvhighlights",
    "charades",
    "yc2r",
    "vatex_en_r",
    "value_how2qa",
    "vlep",
    "value_violin",
    "yc2c",
    "vatex_en_c",
)
# Rows of a file that are tried in each form to find the one it is in.
_TRIED = 10
# Fields of a row that a message names.
_NAMED = 15
# Characters of a field's name that a message shows.
_SHOWN = 60
MISTAKE = "queries with a mistake: left out"


def _load_form(module: str) -> AnnotationForm[Any]:
    return importlib.import_module(f"{__package__}.{module}").FORM


FORMS = {form.name: form for form in map(_load_form, _MODULES)}


def read_annotations(path: Path, form: str, report: Report) -> tuple[str, list[Annotation]]:
    """Reads an annotation file.

    Rows with a mistake, with the id of an earlier row, or of another type than the first row are
    left out and counted.

    Args:
      form: name of one of FORMS.
      report: counts what is left out.

    Returns:
      The type of the rows, one of `data.schema.QUERY_TYPES`, and the rows in the file's order.

    Raises:
      InputError: there is no such form, or no row of the file can be used.
    """
    path, reader = user_path(path), _find_form(form)
    file_type = ""
    kept: dict[str, Annotation] = {}
    first_mistake = ""
    for where, row in _rows(reader, path):
        try:
            if isinstance(row, Mistake):
                raise row
            annotation = reader.parse(row, where)
            query_id = annotation.query.query_id
            if query_id in kept:
                raise Mistake(f"id {query_id!r} came before, at {kept[query_id].where}")
            row_type = reader.type_of(row)
            if file_type not in ("", row_type):
                raise Mistake(f"it is a {row_type} in a file that began with a {file_type}")
        except Mistake as mistake:
            report.add(MISTAKE, f"{where}: {mistake}")
            first_mistake = first_mistake or f"{where}: {mistake}{_fields(reader, row)}"
            continue
        if reader.without_moment and not annotation.query.moments:
            report.add(reader.without_moment, where)
        file_type = row_type
        kept[query_id] = annotation
    if not kept:
        advice = _advice(path, reader) or "correct it or name another form"
        raise InputError(
            f"{path} has nothing that can be used as {form} ({first_mistake or 'it has no rows'}): "
            f"{advice}"
        )
    return file_type, list(kept.values())


def _rows(form: AnnotationForm[Any], path: Path) -> Iterator[tuple[str, Any]]:
    """Yields the form's rows; the error of a file that is not of this form names the right one."""
    try:
        yield from form.rows(path)
    except InputError as error:
        advice = _advice(path, form)
        raise InputError(f"{error}; {advice}" if advice else str(error)) from error


def _fields(form: AnnotationForm[Any], row: Any) -> str:
    """Describes the fields that a form needs and those of a row, '' for a row without fields."""
    row = row[0] if isinstance(row, tuple) else row  # With what belongs to it.
    if not form.fields or not isinstance(row, dict):
        return ""
    names = [_shown(str(name)) for name in row]
    found = ", ".join(names[:_NAMED] + ["..."] * (len(names) > _NAMED)) or "no fields"
    return f"; {form.name} needs {', '.join(form.fields)}, and it has {found}"


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= _SHOWN else reprlib.repr(name)


def _advice(path: Path, unlike: AnnotationForm[Any]) -> str:
    """Names the form that a file is in, of several the one that needs most fields; '' for none."""
    forms = [form for form in FORMS.values() if form is not unlike and _fits(form, path)]
    most = max((len(form.fields) for form in forms), default=0)
    names = [form.name for form in forms if len(form.fields) == most]
    return f"it is of the form {' or '.join(names)}, name that one" if names else ""


def _fits(form: AnnotationForm[Any], path: Path) -> bool:
    """Returns whether the first rows of a file, of which there are some, can be read in a form."""
    fits = False
    try:
        for where, row in itertools.islice(form.rows(path), _TRIED):
            if isinstance(row, Mistake):
                return False
            form.parse(row, where)
            fits = True
    except (InputError, Mistake):
        return False
    return fits


def same_type(known: str, new: str, path: Path | str) -> str:
    """Checks that the queries of several files are of one type, and returns it.

    Args:
      known: type of the queries of earlier files, '' if this is the first.
      new: type of the queries of this file or folder.
      path: the file or folder, or a row of it.

    Raises:
      InputError: the types differ.
    """
    if known not in ("", new):
        raise InputError(
            f"{path} holds annotations of type {new}, the others are of type {known}: build a "
            "dataset for each"
        )
    return new


def _find_form(name: str) -> AnnotationForm[Any]:
    if name not in FORMS:
        nearest = difflib.get_close_matches(name, FORMS, 1, cutoff=0)
        raise InputError(
            f"annotations have no form {name!r} (did you mean {nearest[0]}?): it can be "
            f"{', '.join(FORMS)}"
        )
    return FORMS[name]
