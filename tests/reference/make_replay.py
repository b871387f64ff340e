"""The parity runs' inputs as files, for `dinorun train PLAN --replay CROPS --init INIT`.

    make_replay.py [--crops CROPS.safetensors] [--init INIT.safetensors]

CROPS: step{0..9}.crop{0..5}, [2, 3, 224, 224] twice and [2, 3, 96, 96] four times. INIT: student.*, teacher.* (a copy)
and center (zeros), as a checkpoint names them."""
import argparse

import numpy as np

import st
from dino import Dino, Network, set_initial
from make_parity import OUT_DIM, STEPS, crops_of


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops")
    parser.add_argument("--init")
    args = parser.parse_args()
    if args.crops:
        st.save(args.crops, {f"step{s}.crop{v}": x for s in range(STEPS) for v, x in enumerate(crops_of(s))})
    if args.init:
        network = Network("vit_tiny", 16, OUT_DIM)
        set_initial(network, "student.")
        st.save(args.init, {name: np.ascontiguousarray(x) for name, x in Dino(network).state().items()})


if __name__ == "__main__":
    main()
