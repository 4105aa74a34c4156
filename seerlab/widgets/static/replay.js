/* A page without a kernel: what a view would be told at a setting was recorded, and is told again.
 *
 * The view's modules are those of the live widget. Each gets a model with the methods that anywidget's has. When it sets a trait that
 * belongs to the recording (`axes`), the messages of that setting are played (`plays`, by the numbers of the values along the axes). A
 * value along a slider (`steps`) that was not recorded goes to the next that was; any other choice is taken back, and said in words.
 *
 * Bytes lie in the page as base64, compressed or not, each kept once (`data-blob`). */

globalThis.seerlab = (() => {
	const modules = new Map();
	const views = []; // models of the views, for tests and for the console
	const blobs = new Map();
	const find = (selector, root = document) => root.querySelector(selector);
	const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
	const SHARED = ["bits", "margin", "channel"]; // of the lab's controls, with every view that has them

	/* ---- bytes ---- */

	async function decoded(text, packed) {
		const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
		if (!packed) return bytes;
		const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
		return new Uint8Array(await new Response(stream).arrayBuffer());
	}

	function blob(number) {
		const place = find(`[data-blob="${number}"]`);
		if (!blobs.has(number)) blobs.set(number, decoded(place.textContent, "packed" in place.dataset));
		return blobs.get(number);
	}

	/* ---- a model ---- */

	function makeModel(state, { saved, asked }) {
		const handlers = new Map();
		const changed = new Set();
		const emit = (name, ...values) => [...(handlers.get(name) || [])].forEach((handler) => handler(...values));
		const model = {
			get: (name) => state[name],
			set(name, value) {
				if (same(state[name], value)) return;
				state[name] = value;
				changed.add(name);
				emit(`change:${name}`, model, value);
			},
			save_changes() {
				const names = [...changed];
				changed.clear();
				if (names.length) saved(names);
			},
			on: (name, handler) => handlers.set(name, (handlers.get(name) || new Set()).add(handler)),
			off: (name, handler) => handlers.get(name)?.delete(handler),
			send: (message) => asked(message),
			emit,
		};
		return model;
	}

	/* ---- a view that was recorded ---- */

	/** Number of the recorded value nearest to `wanted`; a step too small to leave `before` goes on to the next. */
	function nearest(values, wanted, before) {
		const by = (list) => list.sort((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted))[0];
		const closest = by([...values]);
		if (closest !== before) return closest;
		const beyond = values.filter((v) => (v - before) * (wanted - before) > 0);
		return beyond.length ? by(beyond) : closest;
	}

	function makePlayer(view, steps, say, opened, shown) {
		const names = Object.keys(view.axes);
		const state = { ...view.state };
		const settled = Object.fromEntries(names.map((name) => [name, state[name]]));
		let [turn, seq] = [0, 0];
		let after = () => {};
		const key = (values) => names.map((name) => view.axes[name].findIndex((v) => same(v, values[name]))).join("/");
		const recorded = (values) => key(values) in view.plays;

		async function play() {
			const mine = ++turn;
			const now = key(settled);
			const messages = await Promise.all(view.plays[now].map(async ([content, numbers]) => [content, await Promise.all(numbers.map(blob))]));
			if (mine !== turn) return; // overtaken
			const [frames, rest] = [true, false].map((wanted) => messages.filter(([content]) => (content.kind === "frame") === wanted));
			// What follows a frame may speak of it, so it waits until the frame is drawn.
			after = () => rest.forEach(([content, buffers]) => model.emit("msg:custom", content, buffers));
			for (const [content, buffers] of frames) model.emit("msg:custom", { ...content, seq: ++seq, busy: false }, buffers);
			shown(view.panel[now]);
		}

		/* Bring the traits to a setting that was recorded: what was changed as far as possible, the other sliders after it. */
		function settle(touched) {
			const wanted = Object.fromEntries(names.map((name) => [name, state[name]]));
			if (!recorded(wanted)) {
				for (const name of [...touched, ...names.filter((name) => !touched.includes(name))]) {
					if (recorded(wanted) || !steps.includes(name)) continue;
					const there = view.axes[name].filter((v) => recorded({ ...wanted, [name]: v }));
					if (there.length && typeof wanted[name] === "number") wanted[name] = nearest(there, wanted[name], settled[name]);
				}
			}
			if (recorded(wanted)) say("");
			else {
				const name = touched[0];
				const text = (v) => (Array.isArray(v) && !v.length ? "none" : String(v));
				say(`Not recorded: ${name} ${text(wanted[name])}. Recorded: ${view.axes[name].map(text).join(", ")}. Anything else needs the notebook and its kernel.`);
				Object.assign(wanted, settled);
			}
			Object.assign(settled, wanted);
			for (const name of names) model.set(name, settled[name]);
			model.save_changes();
		}

		const model = makeModel(state, {
			saved(changed) {
				const touched = changed.filter((name) => names.includes(name) && !same(state[name], settled[name]));
				if (!touched.length) return;
				settle(touched);
				play();
			},
			asked(message) {
				if (message.kind === "ready") play();
				else if (message.kind === "drawn") {
					if (message.seq === seq) after();
					after = () => {};
				}
				else if (message.kind === "open" || message.kind === "leave") opened(message.layer);
				// An answer without sums: there is nothing to compute them from.
				else if (message.id !== undefined) setTimeout(() => model.emit("msg:custom", { kind: message.kind, id: message.id }, []));
			},
		});
		return model;
	}

	/* ---- the page ---- */

	function make(tag, attributes = {}, ...children) {
		const element = document.createElement(tag);
		for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
		element.append(...children);
		return element;
	}

	/** Tabs as the keyboard expects them: arrows move, one stop for Tab. Returns what selects one by its title. */
	function makeTabs(titles, panes, opened) {
		const tabs = titles.map((title, i) => make("button", { role: "tab", id: `tab-${i}`, "aria-controls": `pane-${i}` }, title));
		const list = make("div", { role: "tablist", "aria-label": "Pages" }, ...tabs);
		const select = (chosen) =>
			tabs.forEach((tab, i) => {
				tab.setAttribute("aria-selected", i === chosen);
				tab.tabIndex = i === chosen ? 0 : -1;
				panes[i].hidden = i !== chosen;
				if (i === chosen) opened(i);
			});
		tabs.forEach((tab, i) => {
			tab.addEventListener("click", () => select(i));
			tab.addEventListener("keydown", (event) => {
				const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: tabs.length - 1 }[event.key];
				if (to === undefined) return;
				event.preventDefault();
				const next = (to + tabs.length) % tabs.length;
				select(next);
				tabs[next].focus();
			});
		});
		panes.forEach((pane, i) => {
			for (const [name, value] of [["role", "tabpanel"], ["id", `pane-${i}`], ["aria-labelledby", `tab-${i}`]]) pane.setAttribute(name, value);
		});
		return { list, select };
	}

	const span = (values) => (values.length > 8 ? `${values.length} values from ${values[0]} to ${values[values.length - 1]}` : values.map(String).join(", "));
	const list = (view) => {
		const axes = Object.entries(view.axes).filter(([, values]) => values.length > 1);
		const words = axes.map(([name, values]) => `${name.replace("_", " ")} ${span(values.every((v) => typeof v === "number") ? [...values].sort((a, b) => a - b) : values)}`);
		return `${view.title ? `${view.title}: ` : ""}${words.join("; ") || "as it was"}`;
	};

	async function start() {
		const { views: parts, controls, code, steps } = JSON.parse(new TextDecoder().decode(await decoded(find("#recording").textContent, true)));
		const status = find("header [role=status]");
		const say = (text) => (status.textContent = text);
		find("header ul").append(...parts.map((part) => make("li", {}, list(part))));
		const main = find("main");
		main.className = controls ? "seerlab-lab" : "";
		const shown = parts.map((part) => {
			const place = make("div", { class: "seerlab-view" });
			const beside = Object.keys(part.panel).length ? makeFigures(say) : null;
			const model = makePlayer(part, steps, say, open, (html) => beside?.show(html));
			views.push(model);
			let drawn = false;
			const draw = () => {
				if (!drawn) modules.get(part.module)({ model, el: place });
				drawn = true;
			};
			return { part, model, draw, body: beside ? make("div", { class: "seerlab-body" }, place, beside.place) : place };
		});
		const pages = shown.filter(({ part }) => !part.under);
		const panes = pages.map((page) => {
			const folds = shown.filter(({ part }) => part.under && part.under === page.part.title).map(makeFold);
			return make("section", {}, page.body, ...folds);
		});
		const tabs = makeTabs(pages.map(({ part }) => part.title), panes, (i) => pages[i].draw());
		/** What a view asks for by a layer's name, or without one for the network around it. */
		function open(layer) {
			const i = layer === undefined ? pages.findIndex(({ part }) => part.module === "NetworkStrip") : layer === controls?.layer ? 0 : -1;
			if (i >= 0) tabs.select(i);
			else say(`Layer ${layer} was not recorded; opening it needs the notebook and its kernel.`);
		}
		if (controls) {
			const place = make("div");
			main.append(place);
			const model = makeModel(controls, { saved: () => {}, asked: ({ what }) => takeaway(what) });
			const takeaway = async (what) => {
				const name = `${pages.find((_, i) => !panes[i].hidden).part.title.toLowerCase()}.png`;
				if (what === "code") model.emit("msg:custom", { kind: "code", text: code }, []);
				else if (what === "png") model.emit("msg:custom", { kind: "file", name }, [await picture()]);
				else say(`${what.toUpperCase()} needs the notebook and its kernel.`);
			};
			link([model, ...shown.filter(({ part }) => ["MaskView", "PredictorView"].includes(part.module)).map((view) => view.model)]);
			modules.get("Controls")({ model, el: place });
		}
		if (pages.length > 1) main.append(tabs.list);
		main.append(...panes);
		tabs.select(0);
	}

	/** The figures beside a view: the lab's own module, with a model that holds their HTML. */
	function makeFigures(say) {
		const place = make("div", { class: "seerlab-panel" });
		const model = makeModel({ html: "" }, { saved: () => {}, asked: () => say("This figure was not recorded; working it out needs the notebook and its kernel.") });
		modules.get("Figures")({ model, el: place });
		return { place, show: (html) => html !== undefined && model.set("html", html) };
	}

	/** A view that folds out below another. */
	function makeFold({ part, body, draw }) {
		const fold = make("details", { class: "seerlab-more" }, make("summary", {}, part.title), body);
		fold.addEventListener("toggle", () => fold.open && draw());
		return fold;
	}

	/** PNG file of the canvas in sight. */
	async function picture() {
		const canvas = [...document.querySelectorAll("canvas[data-frame]")].find((c) => c.offsetParent);
		const file = await new Promise((done) => canvas.toBlob(done, "image/png"));
		return new Uint8Array(await file.arrayBuffer());
	}

	/** What one model sets, the others take. */
	function link(models) {
		for (const name of SHARED) {
			const having = models.filter((model) => model.get(name) !== undefined);
			for (const model of having) {
				model.on(`change:${name}`, () => {
					for (const other of having.filter((m) => m !== model)) {
						other.set(name, model.get(name));
						other.save_changes();
					}
				});
			}
		}
	}

	return { modules, start, views };
})();
