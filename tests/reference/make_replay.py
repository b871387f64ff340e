"""The parity runs' inputs as files, for `dinorun train PLAN --replay CROPS --init INIT`.

    make_replay.py [--resnet] [--crops CROPS.safetensors] [--init INIT.safetensors]

CROPS: step{0..9}.crop{0..5}, [2, 3, 224, 224] twice and [2, 3, 96, 96] four times; --resnet: [4, ...]. INIT: student.*,
teacher.* (a copy) and center (zeros), as a checkpoint names them; --resnet: those of ResNet-50."""
import argparse

import make_parity
import make_parity_resnet
import st
from dino import Dino, Network, set_initial


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resnet", action="store_true")
    parser.add_argument("--crops")
    parser.add_argument("--init")
    args = parser.parse_args()
    run = make_parity_resnet if args.resnet else make_parity
    if args.crops:
        st.save(args.crops, {f"step{s}.crop{v}": x for s in range(run.STEPS) for v, x in enumerate(run.crops_of(s))})
    if args.init:
        arch, patch = ("resnet50", None) if args.resnet else ("vit_tiny", 16)
        network = Network(arch, patch, run.OUT_DIM, bn=args.resnet)
        set_initial(network, "student.")
        st.save(args.init, Dino(network).state())


if __name__ == "__main__":
    main()
