"""Print `constraints.txt`: the versions installed now, without ourselves or local labels."""

from __future__ import annotations

from importlib.metadata import distributions

LEFT_OUT = {"annotated-papers", "pip", "setuptools", "wheel"}

names = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions()}
print("# The versions that the tests passed with. `make lock` writes this file.")
for name, version in sorted(names.items()):
    if name not in LEFT_OUT:
        print(f"{name}=={version.partition('+')[0]}")
