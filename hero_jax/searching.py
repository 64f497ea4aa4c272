"""What searching a corpus needs of a split: its clips and its queries, encoded and in order."""

import jax.numpy as jnp
import numpy as np

from hero_jax.matching import encode_queries
from hero_jax.retrieval import Corpus


def predict_clips(model, batch):
    """Encoded clips of a batch, in the model's own precision."""
    frames = model.encode_clips(batch)
    return {
        "frames": frames.astype(model.temporal.dtype),
        "num_frames": batch["num_frames"],
        "clip_numbers": batch["clip_numbers"],
    }


def predict_queries(model, batch):
    """Query vectors of a batch."""
    return {
        "queries": encode_queries(model, batch, None).astype(jnp.float32),
        "query_numbers": batch["query_numbers"],
        "query_mask": batch["query_mask"],
    }


def ordered(predictions, mesh):
    """Queries and clips of a whole split in the order of their records.

    Returns:
      query vectors `[N, H]`, numbers of the queries `[N]`, `Corpus` of C clips, numbers of the
      clips `[C]`.
    """
    asked, there = predictions["query_mask"], predictions["num_frames"] > 0
    query_numbers = predictions["query_numbers"][asked]
    clip_numbers = predictions["clip_numbers"][there]
    by_query, by_clip = np.argsort(query_numbers), np.argsort(clip_numbers)
    corpus = Corpus(
        predictions["frames"][there][by_clip], predictions["num_frames"][there][by_clip], mesh
    )
    queries = predictions["queries"][asked][by_query]
    return queries, query_numbers[by_query], corpus, clip_numbers[by_clip]


def asked_and_searched(found, split):
    """The queries that were asked, and the ids of the clips that were searched, in order."""
    queries = [split.queries[number] for number in found["query_numbers"].tolist()]
    return queries, [split.clip_ids[number] for number in found["clip_numbers"].tolist()]
