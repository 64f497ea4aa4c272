"""Annotations of VATEX-EN-C as VALUE publishes them: captions of whole clips.

Lines of VATEX-EN-R are captions too: those that VALUE's baseline trains on.
"""

from data.sources.annotations.base import AnnotationForm
from data.sources.annotations.rows import caption_rows, parse_clip_caption

FORM = AnnotationForm(
    name="vatex_en_c",
    help="VATEX-EN-C, or VATEX-EN-R as captions",
    query_type="caption",
    rows=caption_rows,
    parse=parse_clip_caption,
    fields=("vid_name",),
)
