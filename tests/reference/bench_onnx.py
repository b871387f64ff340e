"""Features by ONNX Runtime of the network that PyTorch exports, for comparison only: f32, images of 224 pixels.

    bench_onnx.py [--arch vit_small] [--patch 16] [--batch 8] [--threads 2] [--steps 5]

Prints what bench_pytorch.py prints, after the same warm-up. Needs torch, onnx (for the export) and onnxruntime."""
import argparse
import os
import statistics
import tempfile
import time
import warnings

import onnxruntime
import torch

from dino import Network


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vit_small")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the exporter's, of values that are the same for every image
    torch.manual_seed(0)
    backbone = Network(args.arch, args.patch, 64).backbone.eval()
    images = torch.randn(args.batch, 3, 224, 224)
    with torch.no_grad():
        want = backbone(images)
    newer = {"dynamo": False} if "dynamo" in torch.onnx.export.__code__.co_varnames else {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.onnx")
        torch.onnx.export(backbone, (images,), path, input_names=["images"], output_names=["features"], **newer)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    times, inputs = [], {"images": images.numpy()}
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        have = session.run(None, inputs)[0]
        times.append(time.perf_counter() - start)
    error = (torch.from_numpy(have) - want).norm() / want.norm()
    assert error < 1e-4, f"ONNX Runtime's features differ from PyTorch's by {error:.1e}"
    seconds = statistics.median(times[1:])
    print(f"{args.arch} features: {seconds * 1e3:.0f} ms a step, {args.batch / seconds:.2f} images/s, "
          f"{args.threads} threads, ONNX Runtime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
