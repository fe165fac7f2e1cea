"""Train the demo's teacher: `python -m legodnn.builder.zoo.train_fashion teacher.pt`."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from legodnn.builder.data import fashion_mnist
from legodnn.builder.progress import progress
from legodnn.builder.seeds import set_random_seed
from legodnn.builder.zoo.resnet_cifar import resnet18
from legodnn.shared.console import run_command
from legodnn.shared.files import atomic_write


def train(path: Path, images: int = 12800, epochs: int = 4, rate: float = 2e-3, seed: int = 0) -> None:
    """Train on the first ``images`` training images and write the state dict to ``path``."""
    set_random_seed(seed)
    model = resnet18().to(memory_format=torch.channels_last)
    batches = fashion_mnist.train_loader(images)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * len(batches))
    model.train()
    with progress("teacher", epochs * len(batches)) as bar:
        for _ in range(epochs):
            for x, y in batches:
                x = x.flip(3) if torch.rand(1).item() < 0.5 else x
                loss = F.cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.advance()
    buffer = io.BytesIO()
    torch.save(model.to(memory_format=torch.contiguous_format).state_dict(), buffer)
    atomic_write(path, buffer.getvalue())


def main() -> int:
    """Train unless the file is there already; returns the exit status."""
    parser = argparse.ArgumentParser(description="Train the demo's teacher on Fashion-MNIST.")
    parser.add_argument("path", type=Path, help="where the weights go; nothing is done if the file exists")
    options = parser.parse_args()

    def body() -> int:
        if not options.path.exists():
            train(options.path)
        return 0

    return run_command("train_fashion", body)


if __name__ == "__main__":
    sys.exit(main())
