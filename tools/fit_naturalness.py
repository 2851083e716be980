"""Fit the model of good photographs behind `restore.metrics.naturalness`: `python tools/fit_naturalness.py --help`.

    python tools/fit_naturalness.py photographs/a photographs/b --source "a (209), CC BY-SA 4.0" --source "b, CC0"

Every picture gives the features of its sharp patches (mean local contrast above 0.75 of its sharpest patch's); the
model is their mean and covariance. Sources and licences are kept in the file's header.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from restore.errors import RestoreError
from restore.evaluation.pictures import read_unit
from restore.io.paths import find_pictures
from restore.metrics.naturalness import LEAST_SIDE, MODEL, gaussian_of, patch_features
from restore.physics.color import to_luma

SHARPEST = 0.75


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--source", action="append", default=[], help="what a folder holds and its licence")
    parser.add_argument("--out", type=Path, default=MODEL)
    args = parser.parse_args()
    torch.set_num_threads(1)
    features, pictures = [], 0
    for folder in args.folders:
        for path in find_pictures(folder):
            try:
                features.append(patch_features(to_luma(read_unit(path).values)[0], sharpest=SHARPEST))
                pictures += 1
            except RestoreError as error:
                print(f"# {path.name}: {error.what}")
    model = gaussian_of(torch.cat(features))
    header = {"pictures": str(pictures), "patches": str(sum(map(len, features))), "sources": json.dumps(args.source)}
    tensors = {"mean": model.mean.float(), "covariance": model.covariance.float()}
    save_file(tensors, args.out, header)
    print(f"{args.out}: {pictures} pictures of at least {LEAST_SIDE} px, {header['patches']} patches")


if __name__ == "__main__":
    main()
