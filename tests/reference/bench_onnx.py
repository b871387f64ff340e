"""Features by ONNX Runtime or OpenVINO of the network that PyTorch exports, for comparison only: images of 224 pixels.

    bench_onnx.py [--runtime onnxruntime] [--bf16] [--arch vit_small] [--patch 16] [--batch 8] [--threads 2] [--steps 5]

--runtime is onnxruntime or openvino; --bf16 is OpenVINO's inference precision, ONNX Runtime computes in f32 only. Prints what
bench_pytorch.py prints, after the same warm-up. Needs torch, onnx (for the export) and the runtime."""
import argparse
import os
import statistics
import tempfile
import time
import warnings

import torch

from dino import Network


def open_onnxruntime(path, args):
    """A function from an array of images to their features, and what computes them."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0], f"ONNX Runtime {onnxruntime.__version__}"


def open_openvino(path, args):
    import openvino
    config = {"INFERENCE_PRECISION_HINT": "bf16" if args.bf16 else "f32", "INFERENCE_NUM_THREADS": args.threads,
              "PERFORMANCE_HINT": "LATENCY"}
    network = openvino.Core().compile_model(path, "CPU", config)
    return lambda images: network([images])[0], f"OpenVINO {openvino.__version__}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="onnxruntime", choices=["onnxruntime", "openvino"])
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--arch", default="vit_small")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    if args.bf16 and args.runtime == "onnxruntime":
        raise SystemExit("ONNX Runtime computes in f32 only")
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
        run, runtime = (open_openvino if args.runtime == "openvino" else open_onnxruntime)(path, args)
    times, batch = [], images.numpy()
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        have = run(batch)
        times.append(time.perf_counter() - start)
    error = (torch.from_numpy(have) - want).norm() / want.norm()
    limit = 5e-2 if args.bf16 else 1e-4
    assert error < limit, f"{runtime}'s features differ from PyTorch's by {error:.1e}"
    seconds = statistics.median(times[1:])
    words = " bf16" if args.bf16 else ""
    print(f"{args.arch} features{words}: {seconds * 1e3:.0f} ms a step, {args.batch / seconds:.2f} images/s, "
          f"{args.threads} threads, {runtime}")


if __name__ == "__main__":
    main()
