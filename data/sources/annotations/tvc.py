"""Annotations of TVC as they are published."""

from data.sources.annotations.base import AnnotationForm
from data.sources.annotations.rows import caption_rows, parse_caption

FORM = AnnotationForm(
    name="tvc",
    help="TVC",
    query_type="caption",
    rows=caption_rows,
    parse=parse_caption,
    fields=("clip_id", "vid_name", "ts"),
)
