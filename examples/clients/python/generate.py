"""Generates the messages and clients of pulse.trace.v1 into ./generated."""

import pathlib
import sys

from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "proto"
GENERATED = HERE / "generated"


def main() -> int:
    GENERATED.mkdir(exist_ok=True)
    files = sorted((PROTO / "pulse" / "trace" / "v1").glob("*.proto"))
    arguments = [f"--proto_path={PROTO}"]
    arguments += [f"--{kind}_out={GENERATED}" for kind in ("python", "pyi", "grpc_python")]
    return protoc.main(["protoc", *arguments, *(str(file) for file in files)])


if __name__ == "__main__":
    sys.exit(main())
