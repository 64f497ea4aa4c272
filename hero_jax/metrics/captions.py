"""BLEU, METEOR, ROUGE-L and CIDEr of captions, by pycocoevalcap.

The tokenizer of pycocoevalcap needs Java. Texts are always tokenized here instead, in the same way
for ordinary sentences, so that the metrics do not depend on Java. Only METEOR is a Java program; it
is left out without Java.
"""

import contextlib
import re
import shutil
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

from data.arguments import texts

# A moment; any key will do.
_Moment = TypeVar("_Moment", bound=Hashable)

# In lower case; the first alternative that matches: does|n't, 's, o'brien, mr., u.s., 1,000,
# well-known, a single character.
_TOKEN = re.compile(
    r"""
    [a-z]+?(?=n't\b) | n't\b | '(?:s|m|d|re|ve|ll)\b | \b[od]'[a-z]{2,}
    | \b(?:mrs?|ms|dr|prof|st|mt|jr|sr|vs|etc)\. | \b(?:[a-z]\.){2,}
    | \d+(?:[.,:]\d+)+ | \w+(?:[-./&]\w+)* | [?!]+ | \S
    """,
    re.VERBOSE,
)
_DIVIDED = {
    "cannot": "can not",
    "gonna": "gon na",
    "gotta": "got ta",
    "wanna": "wan na",
    "gimme": "gim me",
    "lemme": "lem me",
}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
# Punctuation that pycocoevalcap drops. It keeps brackets, because it looks for their names in
# capitals in a text that is already in lower case.
_DROPPED = set("'\"`.?!,:;-")


def tokenize(text: str) -> str:
    """Returns a text's tokens in lower case, separated by spaces, without punctuation.

    Tokens are those of the Penn Treebank: `doesn't` becomes `does n't`, `Tom's` becomes `tom 's`.
    Characters beyond ASCII become spaces, as in the original's evaluation of TVC.
    """
    tokens = _TOKEN.findall(re.sub(r"[^\x00-\x7f]", " ", text).lower())
    kept = (token for token in tokens if token not in _DROPPED)
    return " ".join(_BRACKETS.get(token, _DIVIDED.get(token, token)) for token in kept)


def score(
    references: Mapping[_Moment, Sequence[str]], hypotheses: Mapping[_Moment, str]
) -> dict[str, float]:
    """Returns metrics of a corpus by name.

    Args:
      references: one or more texts for each moment.
      hypotheses: a text for each of the same moments.

    Returns:
      Fractions; CIDEr, ten times a mean of cosines, may exceed 1.
    """
    reference_tokens, tokens = _tokenized(references, hypotheses)
    bleu = Bleu(4).compute_score(reference_tokens, tokens, verbose=0)[0]
    result = {f"bleu_{n}": float(value) for n, value in enumerate(bleu, 1)}
    meteor = _meteor(reference_tokens, tokens)
    if meteor is not None:
        result["meteor"] = meteor
    result["rouge_l"] = float(Rouge().compute_score(reference_tokens, tokens)[0])
    result["cider"] = float(Cider().compute_score(reference_tokens, tokens)[0])
    return result


def cider(references: Mapping[_Moment, Sequence[str]], hypotheses: Mapping[_Moment, str]) -> float:
    """Returns CIDEr alone; see `score`."""
    return float(Cider().compute_score(*_tokenized(references, hypotheses))[0])


def _tokenized(
    references: Mapping[_Moment, Sequence[str]], hypotheses: Mapping[_Moment, str]
) -> tuple[dict[_Moment, list[str]], dict[_Moment, list[str]]]:
    """Returns tokenized references and hypotheses, as lists, by moment."""
    reference_tokens = {
        moment: [*map(tokenize, texts(of_moment, f"references[{moment!r}]"))]
        for moment, of_moment in references.items()
    }
    return reference_tokens, {moment: [tokenize(hypotheses[moment])] for moment in references}


def _meteor(
    reference_tokens: dict[_Moment, list[str]], tokens: dict[_Moment, list[str]]
) -> float | None:
    """Returns METEOR, or None after a warning if Java is missing or fails."""
    if shutil.which("java") is None:
        _warn_without_meteor("there is no `java` on the PATH")
        return None
    meteor = Meteor()
    try:
        return float(meteor.compute_score(reference_tokens, tokens)[0])
    except (OSError, ValueError) as error:
        # The destructor of Meteor acquires a lock that a failure leaves locked, and flushes a
        # broken pipe.
        meteor.lock.release()
        with contextlib.suppress(OSError):
            meteor.meteor_p.stdin.close()
        _warn_without_meteor(f"`java` failed ({error})")
        return None


def _warn_without_meteor(reason: str) -> None:
    print(f"warning: METEOR is left out: it needs Java, and {reason}", file=sys.stderr, flush=True)
