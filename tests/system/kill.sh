# What kill_runs and kill_ranks share, which source it with $build, $count and $seed set, and with a function
#     train FOLDER STEPS [FLAGS]
# that trains run.plan and writes what is said to FOLDER.log. From here on they are in a folder of their own, which their end removes.
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
steps=$((40 * count + 60))
kills=0
turn=0

must_train() { # as train; what it said where it fails
    (train "$@") || { cat "$1.log" >&2; exit 1; }
}

# Pictures, a tiny run.plan, and the run that nobody interrupts, whole/.
prepare() { # more for dinoc
    "$build/draw_scenes" --out scenes --images 32 --size 40 > /dev/null
    "$build/dinoc" "$source/graphs/demo.yaml" --batch 4 "$@" -o run.plan --set student.with.dim=32 --set student.with.depth=2 \
        --set student.with.heads=2 --set student.with.image=32 --set head.with.out_dim=64 --set head.with.hidden=48 \
        --set head.with.bottleneck=16 --set crops.global.size=32 --set crops.local.size=16 --set crops.local.count=2 > /dev/null
    must_train whole $steps
}

# Whether there is another turn: a start of broken/ that may be killed. Draws $seed anew.
next_turn() {
    [ $kills -lt "$count" ] && ! grep -q "steps are done" broken.log 2> /dev/null || return 1
    turn=$((turn + 1))
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
}

# Half of the turns save after every step; loader threads change from turn to turn.
train_broken() {
    every=$((turn % 2 * 750 + 125)) # thousandths of an epoch of eight steps
    train broken $((steps - 8)) --resume --set "checkpoint.every=0.$every" --set checkpoint.keep=5 --loader-threads $((1 + turn % 3))
}

# The last steps with the knobs of the whole run, in place of its own: the files must be equal, and nothing is left over by the killed ones.
finish() {
    must_train broken $steps --resume --set "checkpoint.every=1 epoch" --set "checkpoint.keep=0 epochs"
    cmp whole/checkpoint.safetensors broken/checkpoint.safetensors
    [ "$(wc -l < whole/log.jsonl)" = "$(wc -l < broken/log.jsonl)" ]
    [ "$(ls broken/previous-*)" = "$(ls whole/previous-* | sed s/^whole/broken/)" ]
}
