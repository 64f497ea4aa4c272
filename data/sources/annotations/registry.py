"""Queries, questions, statements and captions, as each benchmark publishes them and in plain form.

Plain form is for videos of one's own: JSON lines, one of

  {"text": "a dog jumps"}                                          a query
  {"text": "what jumps?", "answers": ["cat", "dog"], "answer": 1}  a question; 0 is the first answer
  {"text": "a dog jumps", "true": true, "group": "pair 7"}         a statement
  {"caption": "a dog jumps", "group": "moment 3"}                  a caption

each with as much of this as is known:

  "video": "film"             what it is about; left out in a test set
  "start": 3.2, "end": 7.5    seconds from the start of the whole video
  "id": "q1"                  else the file's name without its extension, and the line: queries-12
  "kind": "v"                 whether it needs what is seen (v), said (t) or both (vt)

"answer" and "group" may be left out; "true" and "caption" may be null where they are kept back. All
lines of a file are of one type.
"""

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data.errors import InputError
from data.report import Report
from data.sources.annotations import base as forms
from data.sources.annotations.base import Annotation, Rows
from data.sources.annotations.didemo import didemo, didemo_rows
from data.sources.annotations.how2 import HOW2QA_COLUMNS, HOW2R_COLUMNS, how2qa, how2r
from data.sources.annotations.msrvtt import msrvtt, msrvtt_rows
from data.sources.annotations.plain import _plain, _plain_rows, _plain_type
from data.sources.annotations.tvr import tvc, tvc_rows, tvqa, tvr
from data.sources.annotations.violin import violin, violin_rows
from data.sources.json_files import Mistake

MISTAKE = "queries with a mistake: left out"
NO_TIME = "questions without a usable time: kept without it"


class _Form(NamedTuple):
    """How to read a form: `rows` finds where each row is and what it holds, `parse` understands it.

    query_type: '' if the rows tell.
    """

    what: str
    query_type: str
    rows: Callable[[Path], Rows]
    parse: Callable[[object, str], Annotation]


_FORMS = {
    "plain": _Form("JSON lines of our own", "", _plain_rows, _plain),
    "tvr": _Form("TVR, or DiDeMo written like it", "query", forms.line_rows, tvr),
    "tvc": _Form("TVC", "caption", tvc_rows, tvc),
    "tvqa": _Form("TVQA", "question", forms.line_rows, tvqa),
    "violin": _Form("VIOLIN, as published or as HERO has it", "statement", violin_rows, violin),
    "how2r": _Form("How2R", "query", partial(forms.csv_rows, columns=HOW2R_COLUMNS), how2r),
    "how2qa": _Form("How2QA", "question", partial(forms.csv_rows, columns=HOW2QA_COLUMNS), how2qa),
    "didemo": _Form("DiDeMo", "query", didemo_rows, didemo),
    "msrvtt": _Form("MSR-VTT", "query", msrvtt_rows, msrvtt),
}
FORMS = {name: form.what for name, form in _FORMS.items()}


def read_annotations(path: Path, form: str, report: Report) -> tuple[str, list[Annotation]]:
    """The type of a file's rows, one of `schema.QUERY_TYPES`, and the rows in the file's order.

    Rows with a mistake, with an id that came before or, in plain form, of another type than the
    first are left out and counted.

    Raises:
      InputError: no such form, or a file of which nothing can be used.
    """
    found = _find(form)
    type_of_file = found.query_type
    kept: dict[str, Annotation] = {}
    first_mistake = ""
    for where, row in found.rows(path):
        try:
            if isinstance(row, Mistake):
                raise row
            annotation = found.parse(row, where)
            query_id = annotation.query.query_id
            if query_id in kept:
                raise Mistake(f"id {query_id!r} came before, at {kept[query_id].where}")
            type_of_row = found.query_type or _plain_type(row)
            if kept and type_of_row != type_of_file:
                raise Mistake(f"it is a {type_of_row} in a file that began with a {type_of_file}")
        except Mistake as mistake:
            report.add(MISTAKE, f"{where}: {mistake}")
            first_mistake = first_mistake or f"{where}: {mistake}"
            continue
        if form == "tvqa" and not annotation.query.moments:
            report.add(NO_TIME, f"{where}: ts does not tell it")
        type_of_file = type_of_row
        kept[query_id] = annotation
    if not kept:
        raise InputError(
            f"{path} has nothing that can be used as {form} ({first_mistake or 'it has no rows'}): "
            "correct it or name another form"
        )
    return type_of_file, list(kept.values())


def _find(form: str) -> _Form:
    if form not in _FORMS:
        nearest = difflib.get_close_matches(form, _FORMS, 1, cutoff=0)
        raise InputError(
            f"annotations have no form {form!r} (did you mean {nearest[0]}?): it can be "
            f"{', '.join(_FORMS)}"
        )
    return _FORMS[form]


def same_type(known: str, found: str, path: Path) -> str:
    """The type `found` in a file or folder; InputError if others are `known` to be of another."""
    if known not in ("", found):
        raise InputError(
            f"{path} holds annotations of type {found}, the others are of type {known}: build a "
            "dataset for each"
        )
    return found
