"""Writes zip.pt, legacy.pt and expected.npz beside itself; needs PyTorch (2.13.0 made them)."""

import pathlib

import numpy as np
import torch

here = pathlib.Path(__file__).parent
torch.manual_seed(0)
base = torch.randn(4, 6)
state = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)).state_dict()
state["parameter"] = torch.nn.Parameter(torch.randn(2, 2))
state["tied"] = state["parameter"]
state["base"] = base
state["transposed"] = base.T
state["slice"] = base[1:3, ::2]
state["expanded"] = base[2, 1:2].expand(3)
state["scalar"] = torch.tensor(2.5, dtype=torch.float64)
state["empty"] = torch.zeros(0, 3)
state["half"] = torch.randn(3).half()
state["bfloat16"] = torch.randn(2, 3).bfloat16().T
state["position_ids"] = torch.arange(5)
state["flags"] = torch.tensor([True, False])

torch.save(state, here / "zip.pt")
optimizer = torch.optim.Adam([torch.nn.Parameter(base.clone())])
optimizer.param_groups[0]["params"][0].grad = base
optimizer.step()
torch.save(
    {
        "model": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
    },
    here / "legacy.pt",
    _use_new_zipfile_serialization=False,
)
widened = {"bfloat16": state["bfloat16"].float()}
np.savez_compressed(
    here / "expected.npz",
    **{name: tensor.detach().numpy() for name, tensor in {**state, **widened}.items()},
)
