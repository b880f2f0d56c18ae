#!/usr/bin/env python3
"""A small training run without any library: a neural network with one hidden layer learns where a circle ends.

Stands for real training in demonstrations and tests: it takes options, prints the loss of each epoch, writes the
model as JSON, and learns the same again from the same seed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time


def points(count: int, rng: random.Random) -> list[tuple[float, float, float]]:
    """Points of the square [-1, 1] x [-1, 1], each with 1.0 inside a circle of radius 0.7, else 0.0."""
    found = []
    for _ in range(count):
        x, y = rng.uniform(-1, 1), rng.uniform(-1, 1)
        found.append((x, y, 1.0 if math.hypot(x, y) < 0.7 else 0.0))
    return found


class Network:
    """Two inputs, `hidden` tanh units, one logistic output; learns by plain gradient descent."""

    def __init__(self, hidden: int, rng: random.Random) -> None:
        self.first = [[rng.gauss(0, 1) for _ in range(3)] for _ in range(hidden)]  # weights of x, y and 1
        self.second = [rng.gauss(0, 0.5) for _ in range(hidden + 1)]

    def forward(self, x: float, y: float) -> tuple[list[float], float]:
        """The hidden units' values, and how likely (x, y) is inside."""
        units = [math.tanh(a * x + b * y + c) for a, b, c in self.first]
        total = self.second[-1] + sum(weight * unit for weight, unit in zip(self.second, units, strict=False))
        return units, 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))

    def learn(self, x: float, y: float, wanted: float, rate: float) -> float:
        """One step for one point; the cross-entropy before it."""
        units, guess = self.forward(x, y)
        slope = guess - wanted
        for place, unit in enumerate(units):
            back = slope * self.second[place] * (1 - unit * unit)
            self.second[place] -= rate * slope * unit
            for weight, value in enumerate((x, y, 1.0)):
                self.first[place][weight] -= rate * back * value
        self.second[-1] -= rate * slope
        return -math.log(max(1e-12, guess if wanted else 1 - guess))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=12)
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate")
    parser.add_argument("--points", type=int, default=400, help="training points")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="sleep after each epoch")
    parser.add_argument("--out", metavar="FILE", help="write the model here, as JSON")
    return parser.parse_args()


def main() -> int:
    args = options()
    rng = random.Random(args.seed)
    data = points(args.points, rng)
    network = Network(args.hidden, rng)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    print(f"training on {args.points} points, python {sys.version.split()[0]}, CUDA_VISIBLE_DEVICES={gpus}", flush=True)
    for epoch in range(1, args.epochs + 1):
        rng.shuffle(data)
        loss = sum(network.learn(x, y, wanted, args.rate) for x, y, wanted in data) / len(data)
        print(f"epoch {epoch:3}/{args.epochs}  loss {loss:.4f}", flush=True)
        time.sleep(args.pause)
    right = sum((network.forward(x, y)[1] > 0.5) == (wanted > 0.5) for x, y, wanted in data)
    print(f"accuracy {right / len(data):.1%}")
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump({"first": network.first, "second": network.second}, file)
        print(f"model written to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
