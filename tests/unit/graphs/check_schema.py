"""Checks that graphs/schema.json accepts what the compiler accepts, and refuses what an editor should mark. Arguments: the
folder graphs/, and a folder of *.yaml with these descriptions as --print gives them, complete. Exit status 77: a Python module
is missing."""
import copy
import glob
import json
import os
import sys

try:
    import jsonschema
    import yaml
except ImportError as error:
    print("%s; Debian has python3-yaml and python3-jsonschema" % error)
    sys.exit(77)

graphs, complete = sys.argv[1:]
failures = []


def check(good, what):
    if not good:
        failures.append(what)


def documents(folder):
    for path in sorted(glob.glob(os.path.join(folder, "**", "*.yaml"), recursive=True)):
        with open(path, encoding="utf-8") as file:
            for number, document in enumerate(yaml.safe_load_all(file)):
                yield "%s, document %d" % (path, number + 1), document


with open(os.path.join(graphs, "schema.json"), encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)

shipped, printed = list(documents(graphs)), list(documents(complete))
check(len(shipped) >= 14 and len(printed) >= len(shipped), "too few documents: %d, %d" % (len(shipped), len(printed)))
for where, document in shipped + printed:
    for error in validator.iter_errors(document):
        check(False, "%s: %s: %s" % (where, "/".join(map(str, error.absolute_path)), error.message))

# What the compiler refuses, an editor should mark.
recipe = {"recipe": "r", "batch": 16, "student": {"backbone": "vit"}}
probe = {"probe": "p", "backbone": "vit"}
module = {"module": "m", "args": {"dim": "int"}, "nodes": {"a": {"op": "linear", "out": "2 * dim"}, "b": "gelu"}}
wrong = [
    (recipe, "epocs", 10),
    (recipe, "batch", 0),
    (recipe, "dtype", "f16"),
    (recipe, "student", {"with": {}}),
    (recipe, "lr", {"curve": "cosine", "to": 0}),
    (recipe, "lr", {"curve": "cosine", "peak": 1, "from": 1, "to": 0}),
    (recipe, "lr", {"curve": "linear", "from": 1, "to": 0, "over": "3 epochs", "warmup": "1 epoch"}),
    (recipe, "lr", {"curve": "step", "from": 1, "to": 0}),
    (recipe, "checkpoint", {"every": 3}),
    (recipe, "checkpoint", {"every": "3 weeks"}),
    (recipe, "crops", {"global": {"blur": 2}}),
    (recipe, "crops", {"global": {"scale": 0.4}}),
    (recipe, "crops", {"global": {"views": []}}),
    (recipe, "crops", {"local": {"views": [{}, {}]}}),
    (recipe, "optim", {"no_decay": ["weights"]}),
    (recipe, "optim", {"kind": "adam"}),
    (recipe, "nodes", {"a": "gelu"}),
    (probe, "clases", 10),
    (probe, "classes", 0),
    (probe, "blocks", [4]),
    (probe, "optim", {"kind": "adamw"}),
    (probe, "crops", {"jitter": 0.4}),
    (probe, "recipe", "r"),
    (module, "nodes", {}),
    (module, "nodes", {"a": "gelo"}),
    (module, "nodes", {"a": "adamw"}),
    (module, "nodes", {"a": {"out": 3}}),
    (module, "nodes", {"a": {"op": "linear", "out": 3, "kernel": 3}}),
    (module, "nodes", {"a": {"op": "linear", "out": 0}}),
    (module, "nodes", {"a": {"op": "linear", "out": 3, "init": "normal"}}),
    (module, "nodes", {"a": {"op": "gelu", "init": "normal(1)"}}),
    (module, "nodes", {"a": {"op": "gelu", "use": "n"}}),
    (module, "nodes", {"a": {"op": "gelu", "repeat": 2, "when": True}}),
    (module, "nodes", {"a": {"op": "add_position", "table": "t", "grid_h": 3}}),
    (module, "nodes", {"a": {"list": [{"op": "gelu", "wen": True}]}}),
    (module, "nodes", {"a": {"use": "n", "wiht": {}}}),
    (module, "defaults", {"linear": {"bais": False}}),
    (module, "defaults", {"linear": {"from": "x"}}),
    (module, "defaults", {"linaer": {"bias": False}}),
    (module, "params", {"t": {"init": "normal(1)"}}),
    (module, "inputs", []),
    (module, "like", "n"),
    (module, "recipe", "r"),
]
for document in (recipe, probe, module):
    check(validator.is_valid(document), "%r is right, but refused" % document)
for base, key, value in wrong:
    document = copy.deepcopy(base)
    document[key] = value
    check(not validator.is_valid(document), "%s: %r is wrong, but accepted" % (key, value))
check(not validator.is_valid(["module"]), "a list is no document")
check(not validator.is_valid({"nodes": {"a": "gelu"}}), "a definition needs a name")

for failure in failures:
    print(failure)
print("%d documents, %d wrong ones: %d failures" % (len(shipped) + len(printed), len(wrong), len(failures)))
sys.exit(1 if failures else 0)
