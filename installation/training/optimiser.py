"""Adam with β1 = 0, as adversarial training wants it: the second moment is its only state, so a saved run is a third smaller.

Kingma & Ba 2014 (arXiv:1412.6980). Also the learning-rate schedule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Adam:
    """v ← β2 v + (1 − β2) g²; p ← p − lr · g / (√(v / (1 − β2^t)) + ε). Parameters without a gradient in a step are left alone by it.

    parameters: by name, all on one device. steps: t. torch's own Adam does it (fused: on a GPU the launches, not the arithmetic, are
    what it costs). Its first moment is the last gradient here, so it is not kept.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, beta2: float = 0.99, eps: float = 1e-8) -> None:
        self.parameters = dict(parameters)
        self.steps = 0
        values = list(self.parameters.values())
        on_gpu = all(p.device.type == "cuda" for p in values)
        fused = on_gpu or all(p.device.type == "cpu" for p in values)
        # On a GPU the rate lies there, so that a recorded step takes the one of its day.
        self._lr = torch.zeros((), device=values[0].device) if on_gpu else None
        lr = 0.0 if self._lr is None else self._lr
        self._adam = torch.optim.Adam(values, lr=lr, betas=(0.0, beta2), eps=eps, fused=fused, capturable=on_gpu)
        self._put({name: torch.zeros_like(p) for name, p in self.parameters.items()})

    def step(self, lr: float) -> None:
        """One step down the gradients that lie in the parameters."""
        self.announce(lr)
        self.descend()

    def announce(self, lr: float) -> None:
        """A step at this rate is about to come: its first half, which is never recorded."""
        if self._lr is None:
            self._adam.param_groups[0]["lr"] = lr
        else:
            self._lr.fill_(lr)
        self.steps += 1

    def descend(self) -> None:
        """The announced step: only work on the parameters' device, which a CUDA graph can hold."""
        self._adam.step()

    def zero_grad(self) -> None:
        self._adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """v by the parameters' names. The number of steps is the caller's to keep (`steps`)."""
        return {name: self._adam.state[p]["exp_avg_sq"] for name, p in self.parameters.items()}

    def restore(self, v: Mapping[str, Tensor], steps: int) -> None:
        """Take over a state, of whatever dtype it was stored in. KeyError if a tensor is missing, ValueError if it has another shape."""
        for name, parameter in self.parameters.items():
            if v[name].shape != parameter.shape:
                raise ValueError(f"v of {name} has shape {list(v[name].shape)}, {list(parameter.shape)} expected")
        self.steps = steps
        self._put(v)

    def _put(self, v: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            state = self._adam.state[parameter]
            if not state:
                moment = torch.zeros_like(parameter, requires_grad=False)
                # torch keeps the count beside the parameter for the fused step, and as a number of the CPU otherwise.
                place = parameter.device if self._adam.defaults["fused"] else "cpu"
                state |= {
                    "step": torch.zeros((), device=place),
                    "exp_avg": torch.zeros_like(moment),
                    "exp_avg_sq": moment,
                }
            # In place: a recorded step knows these tensors by their address.
            state["step"].fill_(float(self.steps))
            state["exp_avg"].zero_()
            state["exp_avg_sq"].copy_(v[name].detach())


@dataclass(frozen=True, slots=True)
class Rate:
    """A learning rate over a run: linear warm-up, then half a cosine from `peak` to `peak * floor` at `horizon` images, then constant."""

    peak: float
    warm_up: int = 0
    horizon: int = 0
    floor: float = 0.25

    def at(self, nimg: int) -> float:
        """nimg: images seen before the step. horizon 0: no descent."""
        rate = self.peak
        if self.horizon:
            rate *= self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(nimg / self.horizon, 1.0)))
        return rate * min((nimg + 1) / self.warm_up, 1.0) if self.warm_up else rate
