"""Build the compiled estimators; all other metadata is in pyproject.toml.

The extension is optional: where there is no compiler, or it fails, the install succeeds without it
and River's own estimators, and Python's own windows, serve. Flags keep results equal to theirs: no
contraction of a multiply and an add into one rounding, no fast-math, nothing that only this
machine's processor knows.
"""

from pathlib import Path

from setuptools import Extension, setup

# The last two allow vector code for sqrt and divisions; neither changes a result.
FLAGS = [
    "-std=c++17", "-O3", "-ffp-contract=off", "-fvisibility=hidden",
    "-fno-math-errno", "-fno-trapping-math",
]  # fmt: skip
SOURCES = Path("models", "compiled", "src")

setup(
    ext_modules=[
        Extension(
            "models.compiled._native",
            sources=[path.as_posix() for path in sorted(SOURCES.glob("*.cpp"))],
            depends=[path.as_posix() for path in sorted(SOURCES.glob("*.hpp"))],
            language="c++",
            extra_compile_args=FLAGS,
            optional=True,
        )
    ]
)
