// A button that opens and closes what lies below it: ipywidgets' accordion has no button, so neither keyboard nor screen reader finds it.

function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "seerlab-fold";
  button.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's command mode takes keys otherwise
  const update = () => {
    button.textContent = model.get("label");
    button.setAttribute("aria-expanded", String(model.get("opened")));
  };
  button.addEventListener("click", () => {
    model.set("opened", !model.get("opened"));
    model.save_changes();
  });
  for (const name of ["opened", "label"]) model.on(`change:${name}`, update);
  update();
  el.replaceChildren(button);
  // The charts beside the button take a new width only when the window changes: not when their page, on which they may have been made
  // unseen, is turned to, nor when a side bar opens.
  const sized = new ResizeObserver(() => {
    if (button.offsetWidth) window.dispatchEvent(new Event("resize"));
  });
  sized.observe(button);
  return () => {
    sized.disconnect();
    for (const name of ["opened", "label"]) model.off(`change:${name}`, update);
    el.replaceChildren();
  };
}

export default { render };
