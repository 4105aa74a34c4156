"""Which Chromium the browser tests drive, and the JupyterLab that tests of whole notebooks run in."""

import os
import re
import shutil

import pytest
from playwright.sync_api import Page

from tests.browser.jupyterlab_server import end_kernels, jupyterlab

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Errors of the page that are not the lab's own, each with its reason.
FOREIGN_ERRORS = (
    re.compile(r"favicon"),  # the server has none for the file browser's icon under some addresses
    re.compile(r"fontawesome"),  # Voila's template fetches it from the internet
    re.compile(
        r"getter for the shared module is not a function"
    ),  # extensions of JupyterLab that Voila has no room for
    re.compile(r"^Cannot read properties of undefined \(reading 'schema'\)$"),  # Notebook's own reading of its settings
)


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of notebooks that the server shows."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    with jupyterlab(folder, tmp_path_factory.mktemp("jupyter")) as address:
        yield address


@pytest.fixture(autouse=True)
def kernels_end_with_their_test(request):
    address = request.getfixturevalue("server") if "server" in request.fixturenames else None
    yield
    if address is not None:
        end_kernels(address)


@pytest.fixture
def errors(page: Page):
    """What the page's console reports as errors; the test fails for any."""
    found: list[str] = []
    page.on(
        "console",
        lambda message: found.append(f"{message.text} {message.location}") if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: found.append(str(error)))
    yield found
    own = [text for text in found if not any(pattern.search(text) for pattern in FOREIGN_ERRORS)]
    assert own == []
