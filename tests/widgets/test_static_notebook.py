"""A notebook that was saved, and is read without a kernel: every view is there as a picture."""

from __future__ import annotations

import base64
import io
import re

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

CODE = """import torch
import seerlab as sl
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU()).eval()
x = torch.rand(1, 3, 16, 16)
layer = sl.conv_layers(model, x)["2"]"""
VIEWS = {
    "Lab": "sl.Lab(model, x)",
    "MaskView": "sl.MaskView(layer)",
    "EncodingView": "sl.EncodingView(layer)",
    "EpsilonView": "sl.EpsilonView(model, x)",
    "PredictorView": "sl.PredictorView(layer)",
    "GranularityView": "sl.GranularityView(layer)",
    "NetworkView": "sl.NetworkView(model, x)",
}


@pytest.fixture(scope="module")
def page():
    """A notebook with every view, run, saved and converted."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (CODE, *VIEWS.values())])
    # As JupyterLab saves it: without the state of the widgets.
    NotebookClient(notebook, timeout=300, kernel_name="python3", store_widget_state=False).execute()
    html, _ = HTMLExporter().from_notebook_node(notebook)
    return html


def test_every_view_is_a_picture(page):
    pictures = re.findall(r'<img[^>]*src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == len(VIEWS)
    for name, data in zip(VIEWS, pictures, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            colours = picture.convert("RGB").getcolors(1 << 24)
            assert picture.width > 300, name
            assert len(colours) > 3, name  # drawn, not blank


def test_no_view_waits_for_a_kernel(page):
    assert "application/vnd.jupyter.widget-view" not in page
