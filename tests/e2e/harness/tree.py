"""A copy of the project's tree, to build and to run without touching the one under test."""

import shutil

from harness.build import PROJECT
from harness.programs import clean_environment

PARTS = ("app", "tests", "build", "nginx", "conf", "scripts", "Makefile")

# What a make that runs the tests hands down to the makes that it starts.
MAKE_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MODE")


def copy_tree(folder):
    folder.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
        copy(PROJECT / name, folder / name)
    return folder


def environment():
    """As in a terminal of its own."""
    return {name: value for name, value in clean_environment().items() if name not in MAKE_VARIABLES}
