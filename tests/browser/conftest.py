"""Which Chromium the browser tests drive."""

import os
import shutil

import pytest

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """The executable named by SEERLAB_CHROMIUM, else an installed Chromium, else playwright's own."""
    found = os.environ.get("SEERLAB_CHROMIUM") or next(filter(None, map(shutil.which, INSTALLED)), None)
    arguments = {
        **browser_type_launch_args,
        # Containers have no user namespaces for the sandbox; CI machines have neither a GPU nor, often, a network.
        "args": ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    }
    if found:
        arguments["executable_path"] = found
    return arguments


@pytest.fixture(scope="session")
def base_url():
    """No common address. pytest-playwright's own fixture of this name is of a form that pytest 9 warns about."""
    return
