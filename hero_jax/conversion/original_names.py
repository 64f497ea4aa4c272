"""The original implementation's parameter names and layouts, and how they map to ours.

The original stores a linear kernel as `[out, in]`, a convolution as `[1, 1, width]`, and a
vocabulary padded to a multiple of 8. Our parameters are named by their path in the model, joined by
slashes.
"""

import re

import numpy as np

# The language model head's matrix is the table of word embeddings, stored under two names.
WORDS = "v_encoder.f_encoder.embeddings.word_embeddings.weight"
TIED_WORDS = "v_encoder.f_encoder.lm_head.decoder.weight"
WORD_BIAS = "v_encoder.f_encoder.lm_head.bias"

_BLOCK = {
    "self_attention/attention/query": "attention.self.query",
    "self_attention/attention/key": "attention.self.key",
    "self_attention/attention/value": "attention.self.value",
    "self_attention/attention/out": "attention.output.dense",
    "self_attention/norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "out": "output.dense",
    "norm": "output.LayerNorm",
}

_DECODER_LAYER = {
    "self_attention/query": "self_attention.query",
    "self_attention/key": "self_attention.key",
    "self_attention/value": "self_attention.value",
    "self_attention/out": "add_norm_1.dense",
    "self_norm": "add_norm_1.LayerNorm",
    "frame_attention/query": "dec_enc_attention.query",
    "frame_attention/key": "dec_enc_attention.key",
    "frame_attention/value": "dec_enc_attention.value",
    "frame_attention/out": "add_norm_2.dense",
    "frame_norm": "add_norm_2.LayerNorm",
    "inner": "intermidiate.dense",  # so spelt
    "out": "add_norm_3.dense",
    "norm": "add_norm_3.LayerNorm",
}

_MODULES = {
    "cross_modal/text_embedding/norm": "v_encoder.f_encoder.embeddings.LayerNorm",
    "cross_modal/frame_embedding/linear": "v_encoder.f_encoder.img_embeddings.img_linear",
    "cross_modal/frame_embedding/feature_norm": "v_encoder.f_encoder.img_embeddings.img_LayerNorm",
    "cross_modal/frame_embedding/norm": "v_encoder.f_encoder.img_embeddings.LayerNorm",
    "cross_modal/pooler": "v_encoder.f_encoder.pooler.dense",
    "cross_modal/lm_head/dense": "v_encoder.f_encoder.lm_head.dense",
    "cross_modal/lm_head/norm": "v_encoder.f_encoder.lm_head.LayerNorm",
    "frame_projection/norm": "v_encoder.frame_transform.LayerNorm",
    "frame_projection/linear": "v_encoder.frame_transform.net.1",
    "temporal/norm": "v_encoder.c_encoder.embeddings.LayerNorm",
    "temporal/pooler": "v_encoder.c_encoder.pooler.dense",
    "feature_head/mlp/inner": "v_encoder.feat_regress.net.0",
    "feature_head/mlp/norm": "v_encoder.feat_regress.net.2",
    "feature_head/mlp/out": "v_encoder.feat_regress.net.3",
    "order_head/mlp/inner": "v_encoder.fom_output.linear_1",
    "order_head/mlp/norm": "v_encoder.fom_output.LayerNorm",
    "order_head/mlp/out": "v_encoder.fom_output.linear_2",
    "span_head/query": "video_query_linear",
    "query_head/projection/norm": "q_feat_attn.query_input_proj.LayerNorm",
    "query_head/projection/linear": "q_feat_attn.query_input_proj.net.1",
    "query_head/norm": "q_feat_attn.query_pos_embed.LayerNorm",
    "query_head/self_attention/attention/query": "q_feat_attn.query_self_attention.self.query",
    "query_head/self_attention/attention/key": "q_feat_attn.query_self_attention.self.key",
    "query_head/self_attention/attention/value": "q_feat_attn.query_self_attention.self.value",
    "query_head/self_attention/attention/out": "q_feat_attn.query_self_attention.output.dense",
    "query_head/self_attention/norm": "q_feat_attn.query_self_attention.output.LayerNorm",
    "query_head/pool": "q_feat_attn.modular_vector_mapping",
    # Heads of downstream tasks, by what comes after `heads/NAME/`.
    "answer/pool": "qa_pool",
    "answer/mlp/inner": "qa_pred_head.linear_1",
    "answer/mlp/norm": "qa_pred_head.LayerNorm",
    "answer/mlp/out": "qa_pred_head.linear_2",
    "span_pool": "st_ed_pool",
    "span_mlp/inner": "st_ed_pred_head.linear_1",
    "span_mlp/norm": "st_ed_pred_head.LayerNorm",
    "span_mlp/out": "st_ed_pred_head.linear_2",
    "pool": "violin_pool",
    "mlp/inner": "violin_pred_head.linear_1",
    "mlp/norm": "violin_pred_head.LayerNorm",
    "mlp/out": "violin_pred_head.linear_2",
    "norm": "emb_LayerNorm",
}

_ARRAYS = {
    "cross_modal/text_embedding/word": WORDS,
    "cross_modal/text_embedding/position": (
        "v_encoder.f_encoder.embeddings.position_embeddings.weight"
    ),
    "cross_modal/text_embedding/token_type": (
        "v_encoder.f_encoder.embeddings.token_type_embeddings.weight"
    ),
    "cross_modal/frame_embedding/mask": (
        "v_encoder.f_encoder.img_embeddings.mask_embedding.weight"
    ),
    "cross_modal/frame_embedding/position": (
        "v_encoder.f_encoder.img_embeddings.position_embeddings.weight"
    ),
    "cross_modal/lm_head/bias": WORD_BIAS,
    "mask_embedding": "v_encoder.mask_embedding.weight",
    "temporal/position": "v_encoder.c_encoder.embeddings.position_embeddings.weight",
    "query_head/position": "q_feat_attn.query_pos_embed.position_embeddings.weight",
    "span_head/start": "video_st_predictor.weight",
    "span_head/end": "video_ed_predictor.weight",
    "position": "position_embeddings.weight",
}

_STACKS = {
    "cross_modal/transformer/blocks": ("v_encoder.f_encoder.encoder.layer", _BLOCK),
    "temporal/transformer/blocks": ("v_encoder.c_encoder.encoder.layer", _BLOCK),
    "layers": ("decoder.layer", _DECODER_LAYER),
}


def original_name(path: str) -> str | None:
    """The original's name of one of our parameters, None if it has no such parameter.

    The name of a downstream task's head does not depend on what the task is called.
    """
    path = re.sub("^heads/[^/]+/", "", path)
    if path in _ARRAYS:
        return _ARRAYS[path]
    module, _, leaf = path.rpartition("/")
    suffix = {"kernel": "weight", "scale": "weight", "bias": "bias"}.get(leaf)
    if suffix is None:
        return None
    for stack, (name, parts) in _STACKS.items():
        if module.startswith(stack + "/"):
            number, _, part = module[len(stack) + 1 :].partition("/")
            return f"{name}.{number}.{parts[part]}.{suffix}" if part in parts else None
    return f"{_MODULES[module]}.{suffix}" if module in _MODULES else None


def to_our_layout(path: str, array: np.ndarray) -> np.ndarray:
    """One of the original's arrays in the layout of our parameter `path`."""
    if path.endswith("/kernel"):
        return array.T
    if path in ("span_head/start", "span_head/end"):
        return array.reshape(-1)
    return array


def to_original_layout(path: str, array: np.ndarray) -> np.ndarray:
    """One of our parameters in the original's layout; vocabulary rows as we have them."""
    array = np.asarray(array)
    if path.endswith("/kernel"):
        return array.T
    if path in ("span_head/start", "span_head/end"):
        return array.reshape(1, 1, -1)
    return array
