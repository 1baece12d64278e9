"""Code to run first in another process: there a package that is installed is out of reach."""

TEMPLATE = """
import importlib.util, importlib.metadata, sys
find_spec, version = importlib.util.find_spec, importlib.metadata.version
def no_spec(name, package=None):
    return None if name == "PACKAGE" else find_spec(name, package)
def no_version(name):
    if name == "PACKAGE":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.util.find_spec, importlib.metadata.version, sys.modules["PACKAGE"] = no_spec, no_version, None
"""


def without(package: str) -> str:
    """The code for one package."""
    return TEMPLATE.replace("PACKAGE", package)
