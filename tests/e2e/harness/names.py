"""Names that end in .test and mean what a test says, for the programs that it starts."""

import os
import subprocess
from pathlib import Path


def build_library(folder):
    path = folder / "names.so"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", path,
                    Path(__file__).with_name("names.c")], check=True)
    return path


class Names:
    """`env` is for a program's start; what names mean can change at any time."""

    def __init__(self, library, folder):
        self.path = folder / "names"
        self.table = {}
        # A sanitizer wants to be the first library, but does not depend on it.
        options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.env = {"LD_PRELOAD": str(library), "HEDDLE_NAMES": str(self.path), "ASAN_OPTIONS": options}
        self.write()

    def write(self):
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{name} {' '.join(words)}\n" for name, words in self.table.items()))
        new.replace(self.path)

    def set(self, name, *addresses):
        """Other addresses from the next look-up on; "again": no name server answers, "none": no such name."""
        self.table[name] = addresses
        self.write()
