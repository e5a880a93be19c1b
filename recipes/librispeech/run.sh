#!/usr/bin/env bash
# LibriSpeech from nothing to a listening test. Every command is printed before it runs, so that it can be typed instead.
set -euo pipefail

here="$(dirname "$0")"
usage() {
    cat <<'TEXT'
usage: run.sh [OPTIONS] [-- HYDRA_OVERRIDES]

  --stage N, --stop-stage M  the first and the last stage (default: 1 and 5)
                             1 prepare, 2 train, 3 synthesize, 4 evaluate, 5 listening test
  --data DIR                 LibriSpeech root (default: data/LibriSpeech), or any folder tree of 16 kHz audio
  --download "SUBSET ..."    stage 1 brings these into the root, such as "train-clean-100 test-clean"
  --manifests DIR            of stage 1 (default: data/manifests)
  --validation-list FILE     speakers held out (default: splits/val.txt); none: they are chosen by hash
  --experiment NAME          stage 2 (default: librispeech_base)
  --run-dir DIR              of stage 2, read by stages 3 to 5 (default: runs/NAME)
  --nproc N                  processes of stage 2, one for each GPU (default: 1)
  --split NAME               of stages 3 to 5: val (default), test-clean ...
  --items N                  utterances of the listening test (default: 10, or as many as there are)
  --prepare "OPTION ..."     more options of stage 1, such as "--sample-rate 22050" or "--per-speaker 3"
  --force                    replace manifests, reports and listening tests that were made with other settings

What stands behind -- goes to diffwave train: run.sh --stage 2 --stop-stage 2 -- train.batch_size=32
TEXT
}

mistake() {
    echo "run.sh: $1; run.sh --help explains" >&2
    exit 2
}

stage=1 stop_stage=5 data=data/LibriSpeech download= manifests=data/manifests validation_list="$here/splits/val.txt"
experiment=librispeech_base run_dir= nproc=1 split=val items= prepare= force=
while (($#)); do
    case "$1" in
        --help | -h) usage && exit 0 ;;
        --) shift && break ;;
        --force) force=--force && shift ;;
        --stage | --stop-stage | --data | --download | --manifests | --validation-list | --experiment | --run-dir | \
            --nproc | --split | --items | --prepare)
            (($# > 1)) || mistake "expected a value behind $1"
            name="${1#--}" && printf -v "${name//-/_}" %s "$2" && shift 2 ;;
        *) mistake "expected an option; got '$1'" ;;
    esac
done
for name in stage stop_stage nproc items; do
    [ "$name" = items ] && [ -z "$items" ] && continue
    [[ "${!name}" =~ ^[1-9][0-9]{0,4}$ ]] || mistake "--${name//_/-}: expected a positive number; got '${!name}'"
done
((stage <= stop_stage && stop_stage <= 5)) ||
    mistake "expected stages from 1 to 5, the first before the last; got $stage and $stop_stage"
[ -n "$run_dir" ] || run_dir="runs/$experiment"
results="$run_dir/$split"

names=(- prepare train synthesize evaluate "listening test")
run() {
    { printf '+' && printf ' %q' "$@" && echo; } >&2
    local code=0
    "$@" || code=$?
    # 1 from evaluate: there is a report, and some of its rows are empty.
    if ((code == 0)) || { ((code == 1)) && [ "$2" = evaluate ]; }; then return; fi
    echo "run.sh: stage $current (${names[current]}) ended with code $code" >&2
    exit "$code"
}
is_wanted() {
    current=$1
    ((stage <= current && current <= stop_stage))
}

if is_wanted 1; then
    options=(--root "$data" --output "$manifests")
    # Left unquoted on purpose: a list of names.
    # shellcheck disable=SC2206
    [ -z "$download" ] || options+=(--download $download)
    [ "$validation_list" = none ] || options+=(--validation-list "$validation_list")
    # shellcheck disable=SC2206
    [ -z "$prepare" ] || options+=($prepare)
    run python "$here/prepare.py" "${options[@]}" $force
fi

if is_wanted 2; then
    program=(diffwave train)
    ((nproc == 1)) || program=(torchrun --standalone --nproc-per-node "$nproc" -m diffwave train)
    run "${program[@]}" "experiment=$experiment" "data.manifest=$manifests/train.jsonl" \
        "data.validation_manifest=$manifests/val.jsonl" "run_dir=$run_dir" "$@"
fi

if is_wanted 3; then
    run diffwave synthesize "$manifests/$split" --checkpoint "$run_dir" --output "$results/diffwave" --force
fi

if is_wanted 4; then
    run diffwave evaluate --reference "$manifests/$split" --estimate "diffwave=$results/diffwave" \
        --report "$results/report" "${force:---resume}"
fi

if is_wanted 5; then
    available=$(find "$manifests/$split" -mindepth 1 \( -type l -o -type f \) 2>/dev/null | wc -l || true)
    if [ -e "$results/listening" ] && [ -z "$force" ]; then
        echo "run.sh: $results/listening is there; --force makes another test, and the old one loses its key" >&2
    else
        run diffwave listen export --reference "$manifests/$split" --system "diffwave=$results/diffwave" \
            --method mushra --items "${items:-$((available < 10 ? available : 10))}" --output "$results/listening" $force
    fi
fi
