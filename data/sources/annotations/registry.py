"""Reads queries, questions, statements and captions in the form in which they are published."""

import difflib
import importlib
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
)
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
    for where, row in reader.rows(path):
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
            first_mistake = first_mistake or f"{where}: {mistake}"
            continue
        if reader.without_moment and not annotation.query.moments:
            report.add(reader.without_moment, where)
        file_type = row_type
        kept[query_id] = annotation
    if not kept:
        raise InputError(
            f"{path} has nothing that can be used as {form} ({first_mistake or 'it has no rows'}): "
            "correct it or name another form"
        )
    return file_type, list(kept.values())


def same_type(known: str, new: str, path: Path) -> str:
    """Checks that the queries of several files are of one type, and returns it.

    Args:
      known: type of the queries of earlier files, '' if this is the first.
      new: type of the queries of this file or folder.

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
