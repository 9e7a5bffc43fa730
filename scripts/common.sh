# What the scripts share, by the convention of Ascend's ModelZoo: arguments as
# --key=value, results under scripts/output/<device>, figures as "Key = value".

Network=Non_Local_Net_for_TensorFlow
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
python=${PYTHON:-python3}

usage() {
    cat <<'TEXT'
usage: bash scripts/SCRIPT.sh --data_path=FOLDER [--key=value ...]
  --data_path       folder with the four MNIST files, or with MNIST_data in it
  --output_path     folder for checkpoints (default: ckpt in the output folder)
  --train_epochs    passes over the training images
  --batch_size      images a step
  --precision_mode  of the NPU (default: allow_mix_precision)
  --over_dump, --data_dump_flag, --profiling, --autotune   True or False
  --data_dump_step  steps to dump, such as 0|5|10
  --platform        npu (default) or gpu, which is the CPU where there is none
Any other --key=value goes to train_modelarts.py, whose --help has them all.
The results go to scripts/output/$ASCEND_DEVICE_ID (0 if it is not set).
TEXT
}

read_arguments() {              # sets the variables below; the rest to others
    data_path= output_path= precision_mode=allow_mix_precision platform=npu
    over_dump=False data_dump_flag=False data_dump_step= profiling=False
    autotune=False others=()
    local argument
    for argument in "$@"; do
        case $argument in
            --help|-h) usage; exit 1 ;;
            --data_path=*|--output_path=*|--train_epochs=*|--batch_size=*|--precision_mode=*|--over_dump=*|--data_dump_flag=*|--data_dump_step=*|--profiling=*|--autotune=*|--platform=*)
                argument=${argument#--}
                printf -v "${argument%%=*}" '%s' "${argument#*=}" ;;
            --*=*) others+=("$argument") ;;
            *) echo "[Error] arguments are --key=value; got $argument" >&2; exit 1 ;;
        esac
    done
    if [ -z "$data_path" ]; then
        echo '[Error] para "data_path" must be confing'
        exit 1
    fi
    case $data_path in *://*) ;; *) if [ -d "$data_path/MNIST_data" ]; then data_path=$data_path/MNIST_data; fi ;; esac
    case $output_path in
        *://*) echo "[Error] --output_path must be a local folder; got $output_path" >&2; exit 1 ;;
    esac
    local switch
    for switch in over_dump data_dump_flag profiling autotune; do
        case ${!switch} in
            [Tt]rue|TRUE|1) printf -v "$switch" True ;;
            [Ff]alse|FALSE|0|'') printf -v "$switch" False ;;
            *) echo "[Error] --$switch must be True or False; got ${!switch}" >&2; exit 1 ;;
        esac
    done
    case $batch_size$train_epochs in
        *[!0-9]*) echo "[Error] --batch_size and --train_epochs must be whole numbers; got $batch_size and $train_epochs" >&2; exit 1 ;;
    esac
}

prepare_output() {              # an empty folder of this device
    export RANK_SIZE=1 JOB_ID=${JOB_ID:-10087}
    ASCEND_DEVICE_ID=${ASCEND_DEVICE_ID:-0}
    case $ASCEND_DEVICE_ID in
        *[!0-9]*) echo "[Error] ASCEND_DEVICE_ID must be a whole number; got $ASCEND_DEVICE_ID" >&2; exit 1 ;;
    esac
    export ASCEND_DEVICE_ID
    output=$here/output/$ASCEND_DEVICE_ID
    print_log=$output/train_$ASCEND_DEVICE_ID.log
    local value emptied
    emptied=$(realpath -m -- "$output")
    for value in "$data_path" "$output_path" ${others[@]+"${others[@]#*=}"}; do
        [[ $value == */* ]] || continue                 # a number is no folder
        case $(realpath -m -- "$value")/ in
            "$emptied"/*) echo "[Error] $output is emptied at each start; got $value, which is in it. Name another folder, or move it" >&2; exit 1 ;;
        esac
    done
    rm -rf "$output"            # ends in a number: see above
    mkdir -p "$output/ckpt"
    ckpt=${output_path:-$output/ckpt}
}

npu_flags() {                   # the convention's switches as our flags
    flags=(--precision_mode="$precision_mode")
    if [ "$over_dump" = True ] || [ "$data_dump_flag" = True ]; then
        mkdir -p "$output/dump"
        flags+=(--npu_option=dump_path="$output/dump")
    fi
    if [ "$over_dump" = True ]; then
        flags+=(--npu_option=enable_dump_debug=true)
    elif [ "$data_dump_flag" = True ]; then
        flags+=(--npu_option=enable_dump=true)
    fi
    if [ -n "$data_dump_step" ]; then flags+=(--npu_option=dump_step="$data_dump_step"); fi
    if [ "$profiling" = True ]; then
        mkdir -p "$output/profiling"
        flags+=(--npu_option=profiling_mode=true --npu_option=profiling_options='{"output":"'"$output/profiling"'","training_trace":"on","task_trace":"on","aicpu":"on","fp_point":"","bp_point":""}')
    fi
    if [ "$autotune" = True ]; then flags+=(--npu_option=auto_tune_mode=RL,GA); fi
}

train() {                       # train FLAG...: writes $print_log, sets e2e_time
    npu_flags
    local began=$SECONDS
    "$python" -u "$root/train_modelarts.py" --platform="$platform" \
        --data_url="$data_path" --train_url="$ckpt" --Epoch="$train_epochs" \
        --batchsize="$batch_size" "${flags[@]}" "$@" \
        ${others[@]+"${others[@]}"} \
        >"$print_log" 2>&1 || {
            local code=$?
            tail -n 20 "$print_log" >&2
            echo "[Error] the training ended with exit code $code; its log is $print_log" >&2
            exit "$code"
        }
    e2e_time=$((SECONDS - began))
}

report() {                      # report acc|perf: figures of the log
    local DeviceType CaseName FPS TrainingTime train_accuracy ActualLoss test
    if ! grep -q "Loss:" "$print_log"; then
        tail -n 20 "$print_log" >&2
        echo "[Error] no epoch was trained; give an --output_path without checkpoints, or more --train_epochs. The log is $print_log" >&2
        exit 1
    fi
    DeviceType=$(uname -m)
    CaseName=${Network}_bs${batch_size}_${RANK_SIZE}p_$1
    # images/second without the first step, which compiles the graph
    FPS=$(sed -n 's/.*"images_per_second": \([0-9.]*\).*/\1/p' "$ckpt/metrics.jsonl" | tail -n 1 | awk '{printf "%.2f", $1}')
    TrainingTime=$(awk -v batch="$batch_size" -v fps="${FPS:-0}" 'BEGIN {if (fps > 0) printf "%.2f", batch * 1000 / fps}')
    train_accuracy=$(grep Accuarcy "$print_log" | tail -n 1 | awk '{print $5}' | awk '/%/ {printf "%.4f", $1 / 100; next} {print $1}')
    grep Loss "$print_log" | awk -F 'Loss:' '{print $2}' | awk '{print $1}' >"$output/train_${CaseName}_loss.txt"
    ActualLoss=$(tail -n 1 "$output/train_${CaseName}_loss.txt")
    test=$(sed -n 's/.*test accuracy \([0-9.]*\)%.*unseen.*/\1/p' "$print_log" | tail -n 1 | awk '{printf "%.4f", $1 / 100}')
    echo "Final Performance images/sec : $FPS"
    echo "Final Train Accuracy : $train_accuracy"
    echo "Final Test Accuracy : ${test:-not tested: the epoch was not whole}"
    echo "E2E Training Duration sec : $e2e_time"
    cat >"$output/$CaseName.log" <<TEXT
Network = $Network
RankSize = $RANK_SIZE
BatchSize = $batch_size
DeviceType = $DeviceType
CaseName = $CaseName
ActualFPS = $FPS
TrainingTime = $TrainingTime
TrainAccuracy = $train_accuracy
TestAccuracy = $test
ActualLoss = $ActualLoss
E2ETrainingTime = $e2e_time
TEXT
    if [ "$platform" = npu ] && ! grep -q "The model has been compiled on the Ascend AI processor" "$print_log"; then
        echo "ERROR NOTICE: the adapter has not reported a compiled graph; the training may have been on the CPU" >&2
    fi
}
