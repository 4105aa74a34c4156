"""A bare page for a canvas view's module: a fake model, real pixels, real keys, and no kernel behind it."""

from __future__ import annotations

import base64
import json

import numpy as np

ADDRESS = "http://seerlab.test/"
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="view.css">
<body style="margin:0"><div id="first"></div><div id="second"></div></body>"""
FAKE_MODEL = """
window.makeModel = (state) => {
  const handlers = new Map();
  const model = {
    sent: [],
    get: (key) => state[key],
    set(key, value) {
      const changed = JSON.stringify(state[key]) !== JSON.stringify(value);
      state[key] = value;
      if (changed) model.emit(`change:${key}`);
    },
    on: (name, handler) => handlers.set(name, (handlers.get(name) || new Set()).add(handler)),
    off: (name, handler) => handlers.get(name)?.delete(handler),
    emit: (name, ...values) => [...(handlers.get(name) || [])].forEach((handler) => handler(...values)),
    listeners: () => [...handlers.values()].reduce((sum, some) => sum + some.size, 0),
    save_changes() {},
    send: (message) => model.sent.push(message),
  };
  return model;
};
/* Bytes as a kernel's message brings them: somewhere inside a larger buffer. */
window.pass = (content, buffers) => model.emit("msg:custom", content, buffers.map((text) => {
  const whole = new Uint8Array(atob(text).length + 7).fill(255);
  whole.set(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), 3);
  return new DataView(whole.buffer, 3, whole.length - 7);
}));
"""


def code(colour):
    """Colour (red, green, blue) as a little-endian word of canvas memory."""
    return (255 << 24 | colour[2] << 16 | colour[1] << 8 | colour[0]) & 0xFFFFFFFF


# Every text put on a canvas from now on, with its place: what a picture says cannot be read back from its pixels.
RECORD_TEXTS = """() => {
  window.texts = [];
  const pen = CanvasRenderingContext2D.prototype;
  const put = pen.fillText;
  pen.fillText = function (text, x, y) {
    const { width } = this.measureText(text);
    window.texts.push({ text: String(text), left: this.textAlign === 'right' ? x - width : x, right: this.textAlign === 'right' ? x : x + width, y });
    return put.call(this, text, x, y);
  };
}"""


class Bench:
    """A page with one model and its first view; a second view of the same model goes to "#second"."""

    def __init__(self, page):
        self.page = page
        self.canvas = page.locator("#first canvas")

    def send(self, content, buffers=()):
        """Bring the view a message as the kernel would."""
        self.page.evaluate("([c, b]) => pass(c, b)", [content, [base64.b64encode(bytes(b)).decode() for b in buffers]])

    def frames(self, where="#first"):
        return int(self.page.locator(f"{where} canvas").get_attribute("data-frame"))

    def settle(self):
        """Until what was scheduled is drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def wait_for_frame(self, number, where="#first"):
        self.page.wait_for_function(
            "([where, n]) => document.querySelector(where + ' canvas').dataset.frame === String(n)", arg=[where, number]
        )

    def wait_for_level(self, level):
        self.page.wait_for_function(f"document.querySelector('#first canvas').dataset.level === {json.dumps(level)}")

    def wait_for_text(self, selector, text):
        self.page.wait_for_function(
            "([s, t]) => document.querySelector('#first ' + s).textContent.includes(t)", arg=[selector, text]
        )

    def get(self, name):
        return self.page.evaluate("(name) => model.get(name)", name)

    def set(self, name, value):
        self.page.evaluate("([name, value]) => model.set(name, value)", [name, value])

    def sent(self, kind):
        return self.page.evaluate("(kind) => model.sent.filter((m) => m.kind === kind)", kind)

    def text(self, selector):
        return self.page.locator(f"#first {selector}").inner_text()

    def label(self):
        return self.canvas.get_attribute("aria-label")

    def button(self, name):
        return self.page.locator("#first").get_by_role("button", name=name, exact=True)

    def pixels(self, where="#first"):
        """Canvas as an array (rows, columns, 4)."""
        flat, width = self.page.evaluate(
            """(where) => { const c = document.querySelector(where + " canvas");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; return [btoa(Array.from(d, (v) => String.fromCharCode(v)).join("")), c.width]; }""",
            where,
        )
        return np.frombuffer(base64.b64decode(flat), np.uint8).reshape(-1, width, 4)

    def colour_counts(self, palette, where="#first"):
        """Dots of the canvas in each colour of {name: (red, green, blue)}."""
        found = self.pixels(where)[..., :3]
        return {name: int((found == np.array(colour)).all(-1).sum()) for name, colour in palette.items()}

    def has(self, colour):
        return self.colour_counts({"it": colour})["it"] > 0

    def wait_for_colours(self, present, absent=(), where="#first"):
        """Until all colours of the first list and none of the second are on the canvas."""
        self.page.wait_for_function(
            """([where, wanted, absent]) => { const c = document.querySelector(where + " canvas");
            const seen = new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer));
            return wanted.every((w) => seen.has(w)) && !absent.some((w) => seen.has(w)); }""",
            arg=[where, [code(colour) for colour in present], [code(colour) for colour in absent]],
        )


def benches(page, view_class, state, bench_class=Bench, *, width=1000, motion=True):
    """Open a view class's module in `page`; for a fixture: ``yield from benches(page, MaskView, {...})``.

    Parameters
    ----------
    page : playwright Page
    view_class : type
        Its ``_esm`` and ``_css`` are served.
    state : dict
        First values of the traits that the module reads.
    bench_class : type
        Made with the page.
    width : int
        CSS pixels of the window, unless said otherwise when opened.
    motion : bool
        Whether the reader wants things to move, unless said otherwise when opened.

    Yields
    ------
    callable
        ``opened(scheme="light", width=..., motion=...) -> bench``. After the test there must have been no error on the page.
    """
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    files = {
        "": (PAGE, "text/html"),
        "view.js": (str(view_class._esm), "text/javascript"),
        "view.css": (str(view_class._css), "text/css"),
    }

    def serve(route):
        body, kind = files[route.request.url.removeprefix(ADDRESS)]
        route.fulfill(body=body, content_type=kind)

    def opened(scheme="light", width=width, motion=motion):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, reduced_motion="no-preference" if motion else "reduce")
        page.route(f"{ADDRESS}**", serve)
        page.goto(ADDRESS)
        page.add_script_tag(content=FAKE_MODEL)
        page.evaluate(
            """async ([address, state]) => { window.module = await import(address + "view.js");
            window.model = makeModel(state);
            window.stop = module.default.render({ model, el: document.querySelector("#first") }); }""",
            [ADDRESS, {"error": "", **state}],
        )
        return bench_class(page)

    yield opened
    assert problems == []
