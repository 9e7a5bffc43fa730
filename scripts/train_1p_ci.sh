#!/usr/bin/env bash
# A short training of one epoch, and whether it did what it should.
#   bash scripts/train_1p_ci.sh --data_path=/data/mnist [--ckpt_path=FOLDER]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
train_epochs=1 batch_size=128
read_arguments "${@/#--ckpt_path=/--output_path=}"
prepare_output
trap 'echo "Run testcase failed!"' EXIT
note() { echo "$(date '+%Y-%m-%d %H:%M:%S') -[INFO] $*"; }
note "start to run the training"
train --max_steps=100
note "finish to run the training"
cp "$print_log" "$output/train_output.log"
failed=0
all=$(cat "$print_log"; report perf)
# function, performance, precision
for keyword in "checkpoint" "Final Performance images/sec : [0-9]" "Final Train Accuracy : [0-9]"; do
    if ! grep -q "$keyword" <<<"$all"; then
        echo "missing: $keyword"
        failed=1
    fi
done
if [ "$failed" = 0 ]; then
    trap - EXIT
    echo "Run testcase success!"
fi
exit "$failed"
