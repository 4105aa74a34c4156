// The controls of the lab: one form of plain HTML elements, so that names, keyboard and focus come from the browser.
//
// Every element has a real <label>; ranges send at once, then at most every SEND_EVERY_MS while dragging, and always the last
// value. Pictures travel as one custom message with the file's bytes, made smaller here when they would not pass the server.

const SEND_EVERY_MS = 50; // twenty values a second: the kernel answers the newest, more would only fill the server's queue
const UPLOAD_LIMIT_BYTES = 8 * 1024 * 1024; // notebook servers drop browser messages near 10 MB
const UPLOAD_SIDE = 1024; // longest side of a picture that had to be made smaller; networks look at 224 to 299 pixels

/** Call `send` at once, then at most every `wait` ms, never losing the last value. */
export function throttle(send, wait, clock = globalThis) {
  let timer = null;
  let waiting = null;
  const tick = () => {
    timer = null;
    if (waiting) {
      const { value } = waiting;
      waiting = null;
      send(value);
      timer = clock.setTimeout(tick, wait);
    }
  };
  return {
    push(value) {
      if (timer === null) {
        send(value);
        timer = clock.setTimeout(tick, wait);
      } else {
        waiting = { value };
      }
    },
    flush() {
      if (timer !== null) clock.clearTimeout(timer);
      timer = null;
      if (waiting) send(waiting.value);
      waiting = null;
    },
  };
}

/** Make an element with attributes and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The bytes to send for a picture file: its own, or a smaller PNG when they are too many. */
async function pictureBytes(file) {
  if (file.size <= UPLOAD_LIMIT_BYTES) return new Uint8Array(await file.arrayBuffer());
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, UPLOAD_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = make("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new Uint8Array(await blob.arrayBuffer());
}

function render({ model, el }) {
  const id = `seerlab-controls-${Math.random().toString(36).slice(2)}`; // no counter: each view loads this module anew
  const stopListening = [];
  const follow = (names, update) => {
    for (const name of names) {
      model.on(`change:${name}`, update);
      stopListening.push(() => model.off(`change:${name}`, update));
    }
    update();
  };
  const set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const field = (name, text, input, ...after) => {
    input.id = `${id}-${name}`;
    return make("div", { class: `seerlab-field seerlab-field-${name}` }, make("label", { for: input.id }, text), input, ...after);
  };

  // Select boxes: [value, label] pairs in the trait of the plural name.
  const choice = (name, text) => {
    const plural = `${name}_options`;
    const select = make("select");
    select.addEventListener("change", () => set(name, select.value));
    follow([plural], () => {
      select.replaceChildren(...model.get(plural).map(([value, label]) => make("option", { value }, label)));
      select.value = model.get(name);
    });
    follow([name], () => {
      select.value = model.get(name);
    });
    return field(name, text, select);
  };

  // Ranges: the number beside the handle is an <output>, described to screen readers with its unit.
  const range = (name, text, describe) => {
    const input = make("input", { type: "range", step: 1 });
    const output = make("output");
    let held = false; // while the pointer drags, older values coming back from the kernel must not move the handle
    const pace = throttle((value) => set(name, value), SEND_EVERY_MS);
    const show = (value) => {
      output.textContent = String(value);
      input.setAttribute("aria-valuetext", describe(value));
      const share = (value - Number(input.min)) / Math.max(1, Number(input.max) - Number(input.min));
      input.style.setProperty("--seerlab-share", `${100 * share}%`);
    };
    input.addEventListener("pointerdown", () => (held = true));
    const release = () => {
      held = false;
      pace.flush();
    };
    input.addEventListener("pointerup", release);
    input.addEventListener("pointercancel", release);
    input.addEventListener("change", release);
    input.addEventListener("blur", release);
    input.addEventListener("input", () => {
      show(Number(input.value));
      pace.push(Number(input.value));
    });
    follow([`${name}_range`, name], () => {
      [input.min, input.max] = model.get(`${name}_range`);
      if (!held) {
        input.value = model.get(name);
        show(model.get(name));
      }
    });
    stopListening.push(() => pace.flush());
    return field(name, text, input, output);
  };

  // Channel: a number, empty for the mosaic of all.
  const channel = () => {
    const input = make("input", { type: "number", min: 0, step: 1, placeholder: "all" });
    const output = make("output");
    const pace = throttle((value) => set("channel", value), SEND_EVERY_MS);
    const send = () => {
      if (input.value === "") pace.push(-1);
      else if (input.validity.valid) pace.push(Number(input.value));
    };
    input.addEventListener("input", send);
    input.addEventListener("change", () => {
      // A number that does not exist goes back to the one shown, and says what there is.
      if (!input.validity.valid) update();
      pace.flush();
    });
    input.addEventListener("keydown", (event) => {
      // The browser would step from an empty field to 1 and never back to empty.
      const next = { ArrowUp: input.value === "" ? "0" : null, ArrowDown: input.value === "0" ? "" : null }[event.key];
      if (next !== null && next !== undefined) {
        event.preventDefault();
        input.value = next;
        send();
      } else if (event.key === "ArrowDown" && input.value === "") {
        event.preventDefault();
      }
    });
    const update = () => {
      const count = model.get("channels");
      input.max = Math.max(0, count - 1);
      const value = model.get("channel");
      input.value = value < 0 ? "" : value;
      output.textContent = `0 to ${Math.max(0, count - 1)}, empty: all`;
    };
    follow(["channels", "channel"], update);
    stopListening.push(() => pace.flush());
    return field("channel", "Channel", input, output);
  };

  const upload = () => {
    const input = make("input", { type: "file", accept: "image/*", "aria-label": "Upload picture", id: `${id}-upload` });
    input.addEventListener("change", async () => {
      const [file] = input.files;
      if (!file) return;
      try {
        model.send({ kind: "upload", name: file.name }, undefined, [await pictureBytes(file)]);
      } catch {
        model.send({ kind: "upload-failed", name: file.name });
      }
      input.value = ""; // the same file can be chosen again
    });
    // The label is the visible button; the input lies over it unseen, so that the keyboard and drag-and-drop work as they always do.
    const box = make("span", { class: "seerlab-upload", title: "Upload picture" }, make("span", { "aria-hidden": "true" }, "Upload…"), input);
    follow(["uploads"], () => {
      box.hidden = !model.get("uploads");
    });
    return box;
  };

  // What a reader takes away: files come from the kernel as bytes, code as text.
  const request = (text, what, name) => {
    const button = make("button", { type: "button", "aria-label": name, title: name }, text);
    button.addEventListener("click", () => model.send({ kind: "request", what }));
    return button;
  };
  const takeaway = make(
    "span",
    { class: "seerlab-takeaway", role: "group", "aria-label": "Export" },
    request("PNG", "png", "Save the view as PNG"),
    request("SVG", "svg", "Save the view as SVG"),
    request("CSV", "csv", "Save the figures as CSV"),
    request("Copy as code", "code", "Copy as code"),
  );
  const code = make("textarea", { class: "seerlab-code", readonly: "", "aria-label": "Code of this lab", rows: 4, hidden: "" });
  const done = make("span", { class: "seerlab-done", role: "status" });
  const receive = async (content, buffers) => {
    if (content.kind === "file") {
      const url = URL.createObjectURL(new Blob(buffers));
      make("a", { href: url, download: content.name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 0); // the click has taken it by then
      done.textContent = `${content.name} saved`;
    } else if (content.kind === "code") {
      code.hidden = true;
      try {
        await navigator.clipboard.writeText(content.text);
        done.textContent = "Code copied";
      } catch {
        // No clipboard without a secure address or the reader's leave: the code is shown and selected instead.
        code.value = content.text;
        code.rows = content.text.split("\n").length;
        code.hidden = false;
        code.focus();
        code.select();
        done.textContent = "Code selected: copy it";
      }
    }
  };
  model.on("msg:custom", receive);
  stopListening.push(() => model.off("msg:custom", receive));

  const status = make("span", { role: "status" });
  const progress = make("progress", { max: 1, "aria-label": "Progress" });
  const alert = make("div", { role: "alert", class: "seerlab-alert" });
  follow(["status", "progress"], () => {
    status.textContent = model.get("status");
    const value = model.get("progress"); // below 0: nothing under way; above 1: under way, share not known
    progress.hidden = value < 0;
    if (value > 1) progress.removeAttribute("value");
    else if (value >= 0) progress.value = value;
  });
  follow(["error"], () => {
    alert.textContent = model.get("error");
  });

  const image = choice("image", "Image");
  image.append(upload());
  const steps = (value) => `${value} ${value === 1 ? "step" : "steps"}`;
  const form = make(
    "div",
    { class: "seerlab-controls", role: "group", "aria-label": "Lab controls" },
    choice("network", "Network"),
    choice("layer", "Layer"),
    image,
    range("bits", "Bits", (value) => `${value} ${value === 1 ? "bit" : "bits"}`),
    range("margin", "Margin", steps),
    channel(),
    make("div", { class: "seerlab-status" }, status, progress, alert, done, takeaway),
    code,
  );
  // JupyterLab takes the keys of a notebook in command mode (arrows fold headings and change the cell), unless the element that
  // has the focus carries this mark itself: on a parent it does not count.
  for (const control of form.querySelectorAll("input, select, button, textarea")) control.setAttribute("data-lm-suppress-shortcuts", "true");
  el.replaceChildren(form);

  return () => {
    for (const stop of stopListening) stop();
    el.replaceChildren();
  };
}

export default { render };
