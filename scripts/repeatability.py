#!/usr/bin/env python3
"""How well a figure of time can be repeated: N separate evaluations of each model on a machine that another process loads half
of the time, and the spread (coefficient of variation) of three figures that each evaluation gives: the ratio to the baseline as
the board ranks it, the median in ms beside it, and the plain mean of single passes as the field's scripts take it.

    scripts/repeatability.py --upscore target/debug/upscore --baseline MSRResNet.onnx --runs 10 A.onnx B.onnx C.onnx

The load is one process that computes on one core for 2 to 8 s, rests for 2 to 8 s, and so on, drawn from a seed. `--load 0` leaves
the machine alone. Prints a table in Markdown; `--out FILE` keeps every figure as JSON.
"""
import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time


def load(seed):
    """Computes and rests by turns until it is killed."""
    draw = random.Random(seed)
    while True:
        until = time.monotonic() + draw.uniform(2, 8)
        x = 0
        while time.monotonic() < until:
            x = (x * 1103515245 + 12345) % 2147483648
        time.sleep(draw.uniform(2, 8))


def spread(values):
    return 100 * statistics.stdev(values) / statistics.fmean(values)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("models", nargs="+")
    args.add_argument("--upscore", default="target/debug/upscore")
    args.add_argument("--baseline", required=True)
    args.add_argument("--runs", type=int, default=10)
    args.add_argument("--passes", type=int, default=20, help="of the plain mean")
    args.add_argument("--max-seconds", type=float, default=60)
    args.add_argument("--load", type=int, default=1, help="processes")
    args.add_argument("--device", default="cpu")
    args.add_argument("--more", default="", help="further arguments of `upscore profile`, as '--threads 1 --lr DIR --full-images'")
    args.add_argument("--out")
    args = args.parse_args()

    children = []
    for seed in range(args.load):
        child = os.fork()
        if child == 0:
            load(seed)
        children.append(child)
    found = {model: [] for model in args.models}
    try:
        # In turns, so that an hour in which the machine is slower meets every model.
        for number in range(args.runs):
            for model in args.models:
                command = [args.upscore, "profile", model, "--runtime", "--baseline", args.baseline, "--device", args.device,
                           "--plain-mean", str(args.passes), "--max-seconds", str(args.max_seconds), "--json",
                           *args.more.split()]
                start = time.monotonic()
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{' '.join(command)}: {done.stdout} {done.stderr}")
                profile = json.loads(done.stdout)
                runtime = profile["runtime"]
                row = {"ratio": runtime["baseline"]["ratio"], "ratio_ci95": runtime["baseline"]["ratio_ci95"],
                       "median_ms": runtime["median_ms"], "plain_mean_ms": profile["plain_mean_ms"],
                       "noisy": runtime["record"]["noisy"], "discarded": runtime["record"]["discarded"],
                       "blocks": len(runtime["record"]["blocks"]), "seconds": time.monotonic() - start}
                found[model].append(row)
                print(number + 1, os.path.basename(model), json.dumps(row), file=sys.stderr, flush=True)
                if args.out:
                    with open(args.out, "w") as out:
                        json.dump(found, out, indent=1)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)

    print(f"| model | ratio | its spread | median ms, spread | plain mean ms, spread | plain mean over ratio | noisy "
          f"| blocks thrown away |\n|---|---|---|---|---|---|---|---|")
    for model, rows in found.items():
        column = {key: [row[key] for row in rows] for key in rows[0]}
        ratio, plain = spread(column["ratio"]), spread(column["plain_mean_ms"])
        print(f"| {os.path.splitext(os.path.basename(model))[0]} | {statistics.fmean(column['ratio']):.4f} | {ratio:.2f} % "
              f"| {statistics.fmean(column['median_ms']):.1f}, {spread(column['median_ms']):.2f} % "
              f"| {statistics.fmean(column['plain_mean_ms']):.1f}, {plain:.2f} % | {plain / ratio:.1f}× "
              f"| {sum(column['noisy'])} of {len(rows)} | {sum(column['discarded'])} of {sum(column['blocks'])} |")


if __name__ == "__main__":
    main()
