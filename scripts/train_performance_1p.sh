#!/usr/bin/env bash
# Trains on one card for 200 steps of one epoch and reports the speed.
#   bash scripts/train_performance_1p.sh --data_path=/data/mnist
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
train_epochs=1 batch_size=128
read_arguments "$@"
prepare_output
train --max_steps=200
report perf
