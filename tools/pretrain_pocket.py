"""Pre-train the ``pocket`` backbone on the procedural wild world. See tools/README.md."""

from __future__ import annotations

import argparse
import csv
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from pocket.heldout import measure
from pocket.objective import WEIGHTS, loss_terms
from pocket.pool import Pool, patch_samples, render_pool
from pocket.texts import Dictionary, statements, train_text
from pocket.towers import Muon, Towers
from safetensors.torch import load_file
from torch import nn

WARM_UP, DECAY = (
    100,
    0.6,
)  # steps; share of the run, at its end, in which the learning rate falls to zero
TOKENS = 3072  # patches in a process's batch, whatever the size of its crops
EMA = 0.995
MUON_SCALE = 3  # orthogonal steps stand a higher rate than AdamW's
# Share of steps for crops of 64 and 128 px, at the start and at the end. Defects are found in small
# crops first.
CROPS = {64: (1.0, 0.4), 128: (0.0, 0.6)}

log = logging.getLogger("pocket")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the pool, checkpoints, log and weights"
    )
    parser.add_argument("--steps", type=int, default=2100)
    parser.add_argument("--text-steps", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=16000, help="rendered pairs in the pool")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument(
        "--grow", type=Path, help="folder of a run of four blocks, to continue with six"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processes", type=int, default=2, help="of one thread each; their gradients are averaged"
    )
    parser.add_argument("--save-every", type=int, default=50, help="steps between checkpoints")
    parser.add_argument(
        "--measure-every", type=int, default=300, help="steps between held-out measurements"
    )
    return parser.parse_args()


def rate(step: int, steps: int) -> float:
    """Return the learning rate's factor: warm-up, constant, linear fall."""
    return min(1.0, (step + 1) / WARM_UP, (steps - step) / (DECAY * steps))


def crop_side(done: float, rng: np.random.Generator) -> int:
    """Draw a step's crop size, ``done`` of the way from the first to the last shares."""
    return int(
        rng.choice(list(CROPS), p=[first + (last - first) * done for first, last in CROPS.values()])
    )


def text_tower(options: argparse.Namespace) -> Towers:
    """Return towers whose text half is trained; trained once and kept."""
    towers = Towers([one.text for one in statements()], grown=options.grow is not None)
    path = (options.grow or options.out) / "text.pt"
    if not path.exists():
        train_text(towers, options.text_steps, options.seed)
        torch.save(towers.state_dict(), path)
    own = towers.state_dict()
    trained = {
        name: value
        for name, value in torch.load(path, weights_only=True).items()
        if "visual" not in name
    }
    towers.load_state_dict(own | trained)
    return towers


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, options: argparse.Namespace, pool: Pool, rank: int) -> None:
        torch.manual_seed(options.seed)
        self.options, self.pool, self.rank, self.step = options, pool, rank, 0
        self.towers = text_tower(options)
        self.texts = Dictionary(self.towers)
        first = np.random.default_rng([options.seed, 1])
        self.towers.initialise(
            patch_samples(
                [pool.batch(64, 64, first) for _ in range(8)], self.towers.clip.patch_size
            )
        )
        trained = {name: p for name, p in self.towers.named_parameters() if "visual" in name}
        hidden = [p for name, p in trained.items() if "visual.transformer" in name and p.ndim == 2]
        others = [p for p in trained.values() if all(p is not matrix for matrix in hidden)]
        matrices, rest = [p for p in others if p.ndim > 1], [p for p in others if p.ndim < 2]
        adam = [
            {"params": matrices, "weight_decay": 0.02, "scale": 1},
            {"params": rest, "weight_decay": 0.0, "scale": 1},
        ]
        self.optimizers = [
            Muon([{"params": hidden, "scale": MUON_SCALE}], lr=options.lr, weight_decay=0.05),
            torch.optim.AdamW(adam, lr=options.lr, betas=(0.9, 0.98)),
        ]
        if options.grow:
            self.towers.grow(load_file(options.grow / "pocket.safetensors"))
        self.trained = trained
        self.average = {name: p.detach().clone() for name, p in trained.items()}

    def advance(self) -> dict[str, float]:
        """Take one step; it depends on the seed and its number alone."""
        done = 1.0 if self.options.grow else min(1.0, self.step / (0.8 * self.options.steps))
        side = crop_side(done, np.random.default_rng([self.options.seed, 2, self.step]))
        rng = np.random.default_rng([self.options.seed, 3, self.step, self.rank])
        torch.manual_seed(self.step)
        pairs = self.pool.batch(TOKENS * self.towers.clip.patch_size**2 // side**2 // 2, side, rng)
        terms = loss_terms(self.towers, self.texts, pairs, rng)
        torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum().backward()
        self._average_gradients()
        nn.utils.clip_grad_norm_(self.trained.values(), 2.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["scale"] * self.options.lr * rate(self.step, self.options.steps)
            optimizer.step()
        self.towers.zero_grad()
        self.step += 1
        with torch.no_grad():
            keep = min(EMA, self.step / (self.step + 10))
            torch._foreach_lerp_(list(self.average.values()), list(self.trained.values()), 1 - keep)
        return {name: float(term.detach()) for name, term in terms.items()}

    def _average_gradients(self) -> None:
        gradients = [p.grad for p in self.trained.values() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = flat.div_(self.options.processes).split(
            [gradient.numel() for gradient in gradients]
        )
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on."""
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        return {
            "step": self.step,
            "towers": self.towers.state_dict(),
            "average": self.average,
            "optim": optimizers,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        torch.save(self.state(), path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.step, self.average = state["step"], state["average"]
        self.towers.load_state_dict(state["towers"])
        for optimizer, content in zip(self.optimizers, state["optim"], strict=True):
            groups = [group["scale"] for group in optimizer.param_groups]
            optimizer.load_state_dict(content)
            for group, scale in zip(optimizer.param_groups, groups, strict=True):
                group["scale"] = scale

    def export(self, path: Path) -> None:
        """Write the averaged weights for ``zsad.backbones.clip.model.CLIP``."""
        now = {name: p.detach().clone() for name, p in self.trained.items()}
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(self.average[name])
            self.towers.export(path)
            for name, parameter in self.trained.items():
                parameter.copy_(now[name])


def write_row(path: Path, row: dict[str, Any]) -> None:
    """Append a row to a CSV file, with a header if it is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def train(run: Run, out: Path) -> None:
    """Train to the end, with a checkpoint, a log row and a held-out number now and then."""
    options, sums, since = run.options, {}, time.monotonic()
    while run.step < options.steps:
        for name, value in run.advance().items():
            sums[name] = sums.get(name, 0.0) + value
        if run.rank > 0:
            continue
        last = run.step == options.steps
        if run.step % options.save_every == 0 or last:
            run.save(out / "last.pt")
            row = {name: round(value / options.save_every, 4) for name, value in sums.items()}
            write_row(
                out / "losses.csv",
                {"step": run.step, "seconds": round(time.monotonic() - since, 1), **row},
            )
            log.info("step %d: %s", run.step, row)
            sums, since = {}, time.monotonic()
        if run.step % options.measure_every == 0 or last:
            run.export(out / "pocket.safetensors")
            held_out = measure(out / "pocket.safetensors", out / "heldout")
            write_row(
                out / "heldout.csv",
                {"step": run.step, **{k: round(v, 2) for k, v in held_out.items()}},
            )
            log.info("step %d held out: %s", run.step, held_out)


def work(rank: int, options: argparse.Namespace) -> None:
    """Be one of the processes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(
        1
    )  # two processes of one thread lose less to other work on the machine than two threads
    meeting = f"file://{options.out.resolve() / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=options.processes)
    run = Run(options, Pool(options.out / "pool"), rank)
    if (options.out / "last.pt").exists():
        run.resume(options.out / "last.pt")
        log.info("process %d resumed at step %d", rank, run.step)
    train(run, options.out)
    dist.destroy_process_group()


def main() -> None:
    """Render, train, export."""
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    render_pool(options.out / "pool", options.pairs, options.seed, options.processes)
    torch.set_num_threads(1)
    text_tower(options)
    (options.out / "meeting").unlink(missing_ok=True)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(work, (options,), nprocs=options.processes)


if __name__ == "__main__":
    main()
