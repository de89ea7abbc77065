"""Print the mean of the test results in FOLDER/FOLD/SEED: ``mean_results.py NAME FOLDER``."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev


def main(name: str, folder: Path) -> None:
    """Print, for each metric, the mean over folds for each seed, and the mean over seeds."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*/*/results/test.json")):
        result = json.loads(path.read_text())
        seed = path.parents[1].name
        for protocol in ("equidistant", "average_of_draws"):
            for metric in ("mean_average_precision", "accuracy"):
                if result[protocol][metric] is not None:
                    found[f"{metric}, {protocol}"][seed].append(result[protocol][metric])
    for metric, seeds in found.items():
        means = [mean(values) for values in seeds.values()]
        spread = f" ± {stdev(means):.3f}" if len(means) > 1 else ""
        each = ", ".join(f"{value:.3f}" for value in means)
        print(f"{name}: {metric}: {mean(means):.3f}{spread} over {len(means)} seeds ({each})")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
