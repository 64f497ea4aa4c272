"""BLEU, METEOR, ROUGE-L and CIDEr of captions, by pycocoevalcap.

Its own tokenisation needs Java. Texts are taken apart here instead, in the same way as far as
ordinary sentences go, whether Java is there or not: figures do not depend on it. METEOR alone is a
Java program and is left out without one.
"""

import contextlib
import re
import shutil
import sys

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

# In lower case, the first that fits: does|n't, 's, o'brien, mr., u.s., 1,000, well-known, a sign.
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
# What pycocoevalcap drops, sign by sign. It means to drop brackets too, but looks for their names
# in capitals after the text has lost its own.
_DROPPED = set("'\"`.?!,:;-")


def tokenize(text: str) -> str:
    """A text's tokens in lower case with a space between them, without punctuation.

    As in the Penn Treebank: `doesn't` becomes `does n't`, `Tom's` becomes `tom 's`. Characters
    beyond ASCII become spaces, as in the original's evaluation of TVC.
    """
    tokens = _TOKEN.findall(re.sub(r"[^\x00-\x7f]", " ", text).lower())
    tokens = (_BRACKETS.get(t, _DIVIDED.get(t, t)) for t in tokens if t not in _DROPPED)
    return " ".join(tokens)


def score(references: dict, hypotheses: dict) -> dict[str, float]:
    """Metrics of a corpus, as fractions; CIDEr, a tenfold mean of cosines, may exceed 1.

    Args:
      references: for each moment one or more texts.
      hypotheses: for each of the same moments a text.
    """
    references, hypotheses = _tokenized(references, hypotheses)
    bleu = Bleu(4).compute_score(references, hypotheses, verbose=0)[0]
    result = {f"bleu_{n}": float(value) for n, value in enumerate(bleu, 1)}
    meteor = _meteor(references, hypotheses)
    if meteor is not None:
        result["meteor"] = meteor
    result["rouge_l"] = float(Rouge().compute_score(references, hypotheses)[0])
    result["cider"] = float(Cider().compute_score(references, hypotheses)[0])
    return result


def cider(references: dict, hypotheses: dict) -> float:
    """CIDEr alone, as in `score`."""
    return float(Cider().compute_score(*_tokenized(references, hypotheses))[0])


def _tokenized(references, hypotheses):
    references = {moment: [*map(tokenize, texts)] for moment, texts in references.items()}
    return references, {moment: [tokenize(hypotheses[moment])] for moment in references}


def _meteor(references, hypotheses):
    """METEOR, or None and a warning if Java is missing or fails."""
    if shutil.which("java") is None:
        return _without_meteor("there is no `java` on the PATH")
    meteor = Meteor()
    try:
        return float(meteor.compute_score(references, hypotheses)[0])
    except (OSError, ValueError) as error:
        # Its destructor waits for a lock that a failure leaves locked, and flushes a broken pipe.
        meteor.lock.release()
        with contextlib.suppress(OSError):
            meteor.meteor_p.stdin.close()
        return _without_meteor(f"`java` failed ({error})")


def _without_meteor(why):
    print(f"warning: METEOR is left out: it needs Java, and {why}.", file=sys.stderr, flush=True)
