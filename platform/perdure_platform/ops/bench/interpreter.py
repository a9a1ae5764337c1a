"""Which interpreter runs, and how it was built: code of this kind takes some 15 % more time in one that was built without a profile.

`make` runs this file with every interpreter that it may choose, before anything is installed: it needs the standard library alone, and
ends with code 0 where the build is profile-guided. Benchmarks print what it says.
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from collections.abc import Mapping

PROFILE_FLAGS = ("-fprofile-use", "-fprofile-instr-use")
"""The compiler flags of a build that uses a profile, by GCC and by Clang."""


def is_profile_guided(variables: Mapping[str, object], schemes: tuple[str, ...]) -> bool:
    """Whether a build with these configuration variables and installation schemes used a profile.

    The flags must be those that were used: every build also keeps the flag that it would use, in PGO_PROF_USE_FLAG. Debian and Ubuntu
    build with a profile and remove its flags from what they install; the scheme of theirs tells.
    """
    if "--enable-optimizations" in str(variables.get("CONFIG_ARGS") or "") or "deb_system" in schemes:
        return True
    used = " ".join(str(variables.get(name) or "") for name in ("PY_CFLAGS", "PY_CFLAGS_NODIST", "CFLAGS_NODIST", "PY_CORE_CFLAGS"))
    return any(flag in used for flag in PROFILE_FLAGS)


def this_one() -> tuple[str, bool]:
    """A line about the interpreter that runs this, and whether it is profile-guided."""
    good = is_profile_guided(sysconfig.get_config_vars(), sysconfig.get_scheme_names())
    build = "profile-guided" if good else "built without a profile, which costs some 15 %"
    where = os.path.realpath(sys.executable)  # behind a virtual environment's link
    return f"{platform.python_implementation()} {platform.python_version()} at {where}, {build}", good


def main() -> int:
    """Print the line. Exit code 0 if the build is profile-guided."""
    line, good = this_one()
    sys.stdout.write(f"{line}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
