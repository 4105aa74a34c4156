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
  return () => {
    for (const name of ["opened", "label"]) model.off(`change:${name}`, update);
    el.replaceChildren();
  };
}

export default { render };
