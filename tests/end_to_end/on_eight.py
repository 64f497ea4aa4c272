"""Uses an export on eight devices, which was made on one; a process of its own for its devices.

    python -m tests.end_to_end.on_eight EXPORT INDEX SENTENCES

Prints what `query --json` does, after compiled functions were compared with the model.
"""

import pathlib
import sys

import jax
import numpy as np

from hero_jax.inference import compiled
from hero_jax.inference.model import load
from hero_jax.search import __main__ as search


def main(out, index, sentences):
    assert jax.device_count() == 8
    model, texts = load(out), sentences.read_text().splitlines()
    tokens = np.zeros((len(texts), model.exported.batch()["max_query_tokens"]), np.int32)
    counts = np.zeros(len(texts), np.int32)
    for n, text in enumerate(texts):
        words = model.tokenizer.encode(text)
        tokens[n, : len(words)], counts[n] = words, len(words)
    encode = compiled.read(out / "compiled" / f"encode_query{compiled.SUFFIX}")
    found = encode(model.exported.params, tokens, counts)
    np.testing.assert_allclose(found, model.encode_queries(texts), rtol=1e-3, atol=1e-4)
    search.main(
        ["query", f"--model={out}", f"--index={index}", f"--file={sentences}", "--top=9", "--json"]
    )


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
