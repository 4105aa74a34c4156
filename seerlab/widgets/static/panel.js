// The lab's figures: HTML written by the kernel, whose buttons tell it what to work out.

function render({ model, el }) {
  const region = document.createElement("div");
  region.className = "seerlab-figures";
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", "Figures");
  const update = () => {
    // What is drawn anew would lose the focus of a reader who uses the keyboard.
    const focused = region.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
    region.innerHTML = model.get("html"); // written by the kernel, which escapes whatever came from outside
    for (const button of region.querySelectorAll("button")) button.setAttribute("data-lm-suppress-shortcuts", "true");
    if (focused) region.querySelector(`button[data-action="${focused}"]`)?.focus({ preventScroll: true });
  };
  const act = (event) => {
    const button = event.target.closest("button[data-action]");
    if (button) model.send({ kind: "action", name: button.dataset.action });
  };
  region.addEventListener("click", act);
  model.on("change:html", update);
  update();
  el.replaceChildren(region);
  return () => {
    model.off("change:html", update);
    el.replaceChildren();
  };
}

export default { render };
