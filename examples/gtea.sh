#!/usr/bin/env bash
# Train and test on GTEA kitchen activities, leave one subject out: gtea.sh DATA OUT ["SEEDS"]
# DATA contains split_K/*.npz with `features` (T, 128), learned without subject K, and `frame_labels` (T,).
set -euo pipefail
data=$1 out=$2 seeds=${3:-"0 1 2"}
for fold in 1 2 3 4; do
  timeception bank import "$data/split_$fold" --out "$out/banks/$fold" --key features --axes TC \
    --frame-labels frame_labels --background 0 --annotations "$out/banks/$fold.csv"
  for head in timeception pooling; do
    for seed in $seeds; do
      run=$out/runs/$head/fold_$fold/seed_$seed
      [ -e "$run/model/config.json" ] || timeception train gtea "seed=$seed" "model.head=$head" \
        "data.bank=$out/banks/$fold" "data.source=$out/banks/$fold.csv" \
        "data.split.test=['S${fold}_*']" --out "$run"
      timeception test "$run" --json > /dev/null
    done
  done
done
for head in timeception pooling; do
  python "$(dirname "$0")/mean_results.py" "$head" "$out/runs/$head"
done
