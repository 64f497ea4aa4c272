"""The layouts that tasks name, until tasks name the classes themselves."""

from data.pipeline.captions import Captions
from data.pipeline.choices import Choices
from data.pipeline.clips import Clips, Corpus
from data.pipeline.layout import Layout
from data.pipeline.retrieval import QueryTexts, Retrieval

LAYOUTS: dict[str, type[Layout]] = {
    layout.name: layout for layout in (Clips, Corpus, QueryTexts, Retrieval, Choices, Captions)
}
