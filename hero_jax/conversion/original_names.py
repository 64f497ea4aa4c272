"""The original implementation's parameter names and layouts, and how they map to ours.

The original stores a linear kernel as `[out, in]`, a convolution as `[1, 1, width]`, and a
vocabulary padded to a multiple of 8. Our parameters are named by their path in the model, joined by
slashes.
"""

import re
from collections.abc import Iterable

import numpy as np

# The matrix of the language model head is the table of word embeddings, stored under two names.
WORDS = "v_encoder.f_encoder.embeddings.word_embeddings.weight"
TIED_WORDS = "v_encoder.f_encoder.lm_head.decoder.weight"
WORD_BIAS = "v_encoder.f_encoder.lm_head.bias"

# Rows of zeros with which the original fills up what its heads read.
PADS = ("v_encoder.pad", "v_encoder.f_encoder.pad")
# A table of words that it has in a sequence of frames and subtitles, and does not read.
UNUSED_WORDS = "v_encoder.sub_embeddings.word_embeddings.weight"
# Constants of its captioning: the causal mask, and the distribution of smoothed labels.
CAUSAL_MASK = "decoder.tri_mask"
SMOOTHED_LABEL = "loss_func.one_hot"
# Its state dict has these beside parameters that are used.
BUFFERS = {*PADS, UNUSED_WORDS, CAUSAL_MASK, SMOOTHED_LABEL}

_HEAD = re.compile("heads/(?P<task>[^/]+)/(?P<path>.+)")
_LAYER = re.compile("layers/(?P<number>[0-9]+)/")


def _linear(path: str, name: str) -> dict[str, str]:
    return {f"{path}/kernel": f"{name}.weight", f"{path}/bias": f"{name}.bias"}


def _norm(path: str, name: str) -> dict[str, str]:
    return {f"{path}/scale": f"{name}.weight", f"{path}/bias": f"{name}.bias"}


def _mlp(
    path: str, name: str, parts: tuple[str, str, str] = ("linear_1", "LayerNorm", "linear_2")
) -> dict[str, str]:
    inner, norm, out = parts
    return {
        **_linear(f"{path}/inner", f"{name}.{inner}"),
        **_norm(f"{path}/norm", f"{name}.{norm}"),
        **_linear(f"{path}/out", f"{name}.{out}"),
    }


def _self_attention(path: str, name: str) -> dict[str, str]:
    return {
        **_linear(f"{path}/attention/query", f"{name}.self.query"),
        **_linear(f"{path}/attention/key", f"{name}.self.key"),
        **_linear(f"{path}/attention/value", f"{name}.self.value"),
        **_linear(f"{path}/attention/out", f"{name}.output.dense"),
        **_norm(f"{path}/norm", f"{name}.output.LayerNorm"),
    }


def _frame_embedding(path: str, name: str) -> dict[str, str]:
    return {
        f"{path}/mask": f"{name}.mask_embedding.weight",
        f"{path}/position": f"{name}.position_embeddings.weight",
        **_norm(f"{path}/feature_norm", f"{name}.img_LayerNorm"),
        **_linear(f"{path}/linear", f"{name}.img_linear"),
        **_norm(f"{path}/norm", f"{name}.LayerNorm"),
    }


# Parameters of everything but the transformers' blocks and the heads of downstream tasks.
_SINGLE = {
    "cross_modal/text_embedding/word": WORDS,
    "cross_modal/text_embedding/position": (
        "v_encoder.f_encoder.embeddings.position_embeddings.weight"
    ),
    "cross_modal/text_embedding/token_type": (
        "v_encoder.f_encoder.embeddings.token_type_embeddings.weight"
    ),
    **_norm("cross_modal/text_embedding/norm", "v_encoder.f_encoder.embeddings.LayerNorm"),
    **_frame_embedding("cross_modal/frame_embedding", "v_encoder.f_encoder.img_embeddings"),
    **_linear("cross_modal/pooler", "v_encoder.f_encoder.pooler.dense"),
    **_linear("cross_modal/lm_head/dense", "v_encoder.f_encoder.lm_head.dense"),
    **_norm("cross_modal/lm_head/norm", "v_encoder.f_encoder.lm_head.LayerNorm"),
    "cross_modal/lm_head/bias": WORD_BIAS,
    "mask_embedding": "v_encoder.mask_embedding.weight",
    **_norm("frame_projection/norm", "v_encoder.frame_transform.LayerNorm"),
    **_linear("frame_projection/linear", "v_encoder.frame_transform.net.1"),
    "temporal/position": "v_encoder.c_encoder.embeddings.position_embeddings.weight",
    **_norm("temporal/norm", "v_encoder.c_encoder.embeddings.LayerNorm"),
    **_linear("temporal/pooler", "v_encoder.c_encoder.pooler.dense"),
    **_mlp("feature_head/mlp", "v_encoder.feat_regress", ("net.0", "net.2", "net.3")),
    **_mlp("order_head/mlp", "v_encoder.fom_output"),
    **_linear("span_head/query", "video_query_linear"),
    "span_head/start": "video_st_predictor.weight",
    "span_head/end": "video_ed_predictor.weight",
    **_norm("query_head/projection/norm", "q_feat_attn.query_input_proj.LayerNorm"),
    **_linear("query_head/projection/linear", "q_feat_attn.query_input_proj.net.1"),
    "query_head/position": "q_feat_attn.query_pos_embed.position_embeddings.weight",
    **_norm("query_head/norm", "q_feat_attn.query_pos_embed.LayerNorm"),
    **_self_attention("query_head/self_attention", "q_feat_attn.query_self_attention"),
    "query_head/pool/kernel": "q_feat_attn.modular_vector_mapping.weight",
    # Those of VALUE's other fusions.
    **_norm("fusion/subtitle_projection/norm", "v_encoder.sub_transform.LayerNorm"),
    **_linear("fusion/subtitle_projection/linear", "v_encoder.sub_transform.net.1"),
    **_norm("fusion/joint_projection/norm", "v_encoder.video_sub_feature_transform.LayerNorm"),
    **_linear("fusion/joint_projection/linear", "v_encoder.video_sub_feature_transform.net.1"),
    **_frame_embedding("fusion/frame_embedding", "v_encoder.frame_embeddings"),
    "fusion/position": "v_encoder.sub_embeddings.position_embeddings.weight",
    "fusion/token_type": "v_encoder.sub_embeddings.token_type_embeddings.weight",
    **_norm("fusion/norm", "v_encoder.sub_embeddings.LayerNorm"),
}

# Parameters of one block of a transformer, and the transformers.
_BLOCK = {
    **_self_attention("self_attention", "attention"),
    **_linear("inner", "intermediate.dense"),
    **_linear("out", "output.dense"),
    **_norm("norm", "output.LayerNorm"),
}
_TRANSFORMERS = {
    "cross_modal": "v_encoder.f_encoder.encoder.layer",
    "temporal": "v_encoder.c_encoder.encoder.layer",
}
_TRANSFORMER_BLOCK = re.compile(
    f"(?P<transformer>{'|'.join(_TRANSFORMERS)})/transformer/blocks/(?P<number>[0-9]+)/(?P<path>.+)"
)

# Heads of downstream tasks by kind, by path in the head.
_QUESTION_ANSWERING = {
    "answer/pool/kernel": "qa_pool.weight",
    **_mlp("answer/mlp", "qa_pred_head"),
    "span_pool/kernel": "st_ed_pool.weight",
    **_mlp("span_mlp", "st_ed_pred_head"),
}
_INFERENCE = {"pool/kernel": "violin_pool.weight", **_mlp("mlp", "violin_pred_head")}
_DECODER = {"position": "position_embeddings.weight", **_norm("norm", "emb_LayerNorm")}
_DECODER_LAYER = {
    **_linear("self_attention/query", "self_attention.query"),
    **_linear("self_attention/key", "self_attention.key"),
    **_linear("self_attention/value", "self_attention.value"),
    **_linear("self_attention/out", "add_norm_1.dense"),
    **_norm("self_norm", "add_norm_1.LayerNorm"),
    **_linear("frame_attention/query", "dec_enc_attention.query"),
    **_linear("frame_attention/key", "dec_enc_attention.key"),
    **_linear("frame_attention/value", "dec_enc_attention.value"),
    **_linear("frame_attention/out", "add_norm_2.dense"),
    **_norm("frame_norm", "add_norm_2.LayerNorm"),
    **_linear("inner", "intermidiate.dense"),  # The original's spelling.
    **_linear("out", "add_norm_3.dense"),
    **_norm("norm", "add_norm_3.LayerNorm"),
}


def original_names(paths: Iterable[str]) -> dict[str, str | None]:
    """Returns the original's name of each parameter of a model, None if it has no such parameter.

    The parameters of a downstream task's head have names only if together they are exactly those of
    a kind of head that the original has. Their names do not depend on the name of the task.

    Args:
      paths: paths of all parameters of the model, or of whole heads and parts of the encoder.
    """
    names: dict[str, str | None] = {}
    heads: dict[str, list[str]] = {}
    for path in paths:
        if task := task_of_head(path):
            heads.setdefault(task, []).append(path)
            # Keeps the order of the paths.
            names[path] = None
        else:
            names[path] = _encoder_name(path)
    for task, head_paths in heads.items():
        start = f"heads/{task}/"
        head_names = _head_names({path.removeprefix(start) for path in head_paths})
        for path, name in head_names.items():
            names[start + path] = name
    return names


def task_of_head(path: str) -> str | None:
    """Returns the name of the task to whose head a parameter belongs, None for other parameters."""
    match = _HEAD.fullmatch(path)
    return match["task"] if match else None


def _encoder_name(path: str) -> str | None:
    match = _TRANSFORMER_BLOCK.fullmatch(path)
    if not match:
        return _SINGLE.get(path)
    name = _BLOCK.get(match["path"])
    return name and f"{_TRANSFORMERS[match['transformer']]}.{match['number']}.{name}"


def _head_names(paths: set[str]) -> dict[str, str]:
    """Returns the names of a head's parameters by path in the head, empty for an unknown kind."""
    decoder_layers = {match["number"] for match in map(_LAYER.match, paths) if match}
    captioning = _DECODER | {
        f"layers/{number}/{path}": f"decoder.layer.{number}.{name}"
        for number in decoder_layers
        for path, name in _DECODER_LAYER.items()
    }
    kinds = [_QUESTION_ANSWERING, _INFERENCE, *([captioning] if decoder_layers else [])]
    return next((names for names in kinds if names.keys() == paths), {})


def to_our_layout(path: str, array: np.ndarray) -> np.ndarray:
    """Returns one of the original's arrays in the layout of our parameter `path`."""
    if path.endswith("/kernel"):
        return array.T
    if path in ("span_head/start", "span_head/end"):
        return array.reshape(-1)
    return array


def to_original_layout(path: str, array: np.ndarray) -> np.ndarray:
    """Returns our parameter `path` in the original's layout; vocabulary rows stay as they are."""
    array = np.asarray(array)
    if path.endswith("/kernel"):
        return array.T
    if path in ("span_head/start", "span_head/end"):
        return array.reshape(1, 1, -1)
    return array
