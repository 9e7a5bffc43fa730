#!/usr/bin/env bash
# Trains on one card to the end and reports accuracy, loss and speed.
#   bash scripts/train_full_1p.sh --data_path=/data/mnist
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
train_epochs=20 batch_size=128
read_arguments "$@"
prepare_output
train
report acc
