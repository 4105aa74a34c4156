/* A place for long work: a form, the list of jobs, and the result of one of them.
 *
 * The form is made once from the kinds the kernel offers, and keeps what was typed; bits and margin follow the lab. The list's rows are made
 * once per job and changed in place, so that a button keeps the focus while its job moves on. Wishes go to the kernel as messages; what is shown
 * comes back as traits, and a file as a message.
 *
 * Handles for tests: `li[data-job][data-state]`, `.result[data-job]`, role "alert" for the error, role "status" for what was said last. */

const GONE_AT_WORK = "The kernel has ended, and the jobs with it. To go on, run the cell again.";
const LONG_WORD = 60; // letters from which a cell may take several lines
const CELLS = {
	share: share,
	number: (v) => minus(abs(v) >= 1000 ? v.toFixed(0) : Number(v.toPrecision(3))),
	count: whole,
	text: (v) => (v === true ? "yes" : v === false ? "no" : String(v)),
};
const STATES = { waiting: "waits for its turn", cancelled: "cancelled", done: "done" };

/** Seconds in words. */
export function duration(seconds) {
	const s = max(0, round(seconds));
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${floor(s / 60)} min ${s % 60} s`;
	return `${floor(s / 3600)} h ${floor((s % 3600) / 60)} min`;
}

/** What a job's second line says, `ago` seconds after the kernel did. */
export function stateLine(job, ago) {
	if (job.state === "failed") return job.error;
	if (job.state !== "running") {
		const took = job.state === "waiting" ? "" : ` after ${duration(job.elapsed_s)}`;
		return job.state === "done" ? `done in ${duration(job.elapsed_s)}. ${job.sentence}` : STATES[job.state] + took;
	}
	if (job.ending) return `ends as soon as it can · ${duration(job.elapsed_s + ago)}`;
	const parts = [];
	if (job.held) parts.push("stands still for the knobs");
	if (job.total) parts.push(`${job.stage}: ${whole(job.done)} of ${whole(job.total)} ${job.unit}${job.total === 1 ? "" : "s"}`);
	else if (!job.held) parts.push("at work");
	parts.push(`${duration(job.elapsed_s + ago)}${job.left_s === null ? "" : `, about ${duration(max(1, job.left_s - (job.held ? 0 : ago)))} left`}`);
	return parts.join(" \u00b7 ");
}

let places = 0; // makes ids unique over all views of the page

function render({ model, el }) {
	const uid = `seer-work-${(places += 1)}-${Math.random().toString(36).slice(2, 8)}`;
	const stopping = new AbortController();
	const listen = (target, name, handler) => target.addEventListener(name, handler, { signal: stopping.signal });
	const root = document.createElement("div");
	root.className = "seer seer-work";
	const kinds = model.get("kinds");
	root.innerHTML = `<header><div class="title"></div></header><div class="grid2"><form aria-label="New job"><h3>New job</h3>
<div class="choice" role="radiogroup" aria-label="Kind of work">${kinds.map(({ name, label }, i) => `<label><input type="radio" name="${uid}" value="${name}"${i ? "" : " checked"}><span>${escaped(label)}</span></label>`).join("")}</div>
<p class="about"></p>
<div class="set"><div class="field"><label for="${uid}-set">Pictures</label><select id="${uid}-set"></select></div>
<div class="field count"><label for="${uid}-count">At most</label><input id="${uid}-count" type="number" min="1" step="1"></div>
<div class="field folder"><label for="${uid}-folder">Folder</label><input id="${uid}-folder" type="text" placeholder="path, with labels.csv or subfolders"><button type="button">Add</button></div></div>
<div class="fields"></div>
<div class="go"><button type="submit">Start</button></div><div role="alert"></div></form>
<section aria-label="Jobs"><h3>Jobs</h3><p class="none">Nothing was started yet. Jobs run one after the other; the knobs come first.</p><ol></ol><div class="sr" role="status"></div>
<div class="result" data-job="0"></div></section></div>`;
	const find = (selector) => root.querySelector(selector);
	const [title, about, fields, alert, none, list, status, result] = [".title", ".about", ".fields", "[role=alert]", ".none", "ol", "[role=status]", ".result"].map(find);
	const [set, count, folder] = ["set", "count", "folder"].map((name) => find(`#${uid}-${name}`));
	const rows = new Map(); // number of a job -> its elements and what was last known
	const boxes = new Map(); // kind -> field -> {box, input, asked}
	let width = 0;

	/* -- the form -- */

	const kind = () => kinds.find(({ name }) => name === find(".choice input:checked").value);

	function makeField(owner, field) {
		const box = document.createElement("div");
		box.className = "field";
		const id = `${uid}-${owner.name}-${field.name}`;
		const input = document.createElement(field.kind === "choice" ? "select" : "input");
		input.id = id;
		input.setAttribute("aria-label", `${field.label}, new job`); // the lab has a control for bits as well
		if (field.kind === "choice") input.innerHTML = field.choices.map(([value, label]) => `<option value="${escaped(value)}">${escaped(label)}</option>`).join("");
		else if (field.kind === "text") input.placeholder = field.hint;
		else {
			input.type = "number";
			input.step = field.kind === "int" ? field.step : "any";
			for (const [name, value] of [["min", field.low], ["max", field.high]]) if (value !== null) input.setAttribute(name, value);
		}
		input.value = field.default;
		box.innerHTML = `<label for="${id}">${escaped(field.label)}</label>`;
		box.append(input);
		return { box, input, field };
	}

	for (const owner of kinds) boxes.set(owner.name, new Map(owner.fields.map((field) => [field.name, makeField(owner, field)])));

	function showKind() {
		const now = kind();
		about.textContent = now.about;
		count.placeholder = `${now.count}, evenly spaced`;
		fields.replaceChildren(...[...boxes.get(now.name).values()].map(({ box }) => box));
		showAsked();
	}

	function showAsked() {
		const own = boxes.get(kind().name);
		for (const { box, field } of own.values()) box.hidden = field.when !== null && own.get(field.when[0]).input.value !== field.when[1];
	}

	function fromLab() {
		for (const name of ["bits", "margin"]) boxes.get("accuracy").get(name).input.value = model.get(name);
	}

	function showSets() {
		set.innerHTML = model.get("sets").map(([value, label]) => `<option value="${escaped(value)}">${escaped(label)}</option>`).join("");
		set.value = model.get("pictures");
		find(".folder").hidden = !model.get("folders");
	}

	function start() {
		const now = kind();
		const values = {};
		for (const [name, { box, input, field }] of boxes.get(now.name)) {
			if (box.hidden) continue;
			/* What the browser cannot read as a number is empty: the kernel says what is asked for. */
			values[name] = field.kind === "int" || field.kind === "number" ? (input.value === "" ? null : Number(input.value)) : input.value;
		}
		const most = count.value === "" ? (count.validity.badInput ? "?" : null) : Number(count.value);
		model.send({ kind: "start", work: now.name, values, pictures: set.value, count: most });
	}

	const addFolder = () => folder.value.trim() && model.send({ kind: "folder", path: folder.value.trim() });
	listen(find("form"), "submit", (event) => {
		event.preventDefault();
		if (document.activeElement === folder) addFolder();
		else start();
	});
	find("form").noValidate = true; // the kernel's words are better than the browser's
	listen(find(".folder button"), "click", addFolder);
	listen(find(".choice"), "change", showKind);
	listen(fields, "change", showAsked);
	listen(set, "change", () => {
		model.set("pictures", set.value);
		model.save_changes();
	});

	/* -- the list -- */

	function makeRow(job) {
		const row = document.createElement("li");
		row.dataset.job = job.number;
		row.innerHTML = `<b>${escaped(job.title)} <small>\u00b7 ${escaped(job.network)}</small></b><div class="acts"><button type="button" data-wish="cancel">Cancel</button><button type="button" data-wish="show">Result</button><button type="button" data-wish="remove">Remove</button></div><div class="line"><progress max="1"></progress><span></span></div>`;
		for (const button of row.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent}: ${job.title}, job ${job.number}`);
		row.querySelector("progress").setAttribute("aria-label", `Progress of ${job.title}`);
		suppress(row);
		return { row, job: null, at: 0 };
	}

	function showJobs() {
		const jobs = model.get("jobs");
		const there = new Set(jobs.map(({ number }) => number));
		for (const [number, { row }] of rows) {
			if (there.has(number)) continue;
			if (row.contains(document.activeElement)) (row.nextElementSibling?.querySelector("button:not([hidden])") || find(".go button")).focus();
			row.remove();
			rows.delete(number);
		}
		for (const job of jobs) {
			if (!rows.has(job.number)) {
				rows.set(job.number, makeRow(job));
				list.prepend(rows.get(job.number).row);
			}
			const known = rows.get(job.number);
			const before = known.job?.state;
			[known.job, known.at] = [job, performance.now()];
			if (before !== job.state) showState(known, before);
			const bar = known.row.querySelector("progress");
			if (job.share === null) bar.removeAttribute("value");
			else bar.value = job.share;
		}
		none.hidden = rows.size > 0;
		tick();
	}

	function showState({ row, job }, before) {
		row.dataset.state = job.state;
		row.classList.toggle("failed", job.state === "failed");
		row.querySelector("progress").hidden = job.state !== "running";
		const ended = !["waiting", "running"].includes(job.state);
		const [cancel, show, remove] = ["cancel", "show", "remove"].map((wish) => row.querySelector(`[data-wish=${wish}]`));
		const next = document.activeElement === cancel && ended && (job.state === "done" ? show : remove);
		[show.hidden, remove.hidden] = [job.state !== "done", !ended];
		if (next) next.focus(); // while its neighbour is still there: the focus of a hidden element is lost
		cancel.hidden = ended;
		if (before || job.state === "waiting") status.textContent = `${job.title}: ${job.state === "running" ? "started" : stateLine(job, 0)}`;
	}

	function tick() {
		const now = performance.now();
		for (const { row, job, at } of rows.values()) {
			const text = stateLine(job, job.state === "running" ? (now - at) / 1000 : 0);
			const line = row.querySelector(".line span");
			if (line.textContent !== text) line.textContent = line.title = text;
		}
	}

	const clock = setInterval(tick, 1000);

	listen(list, "click", (event) => {
		const wish = event.target.dataset?.wish;
		if (!wish) return;
		const number = Number(event.target.closest("li").dataset.job);
		if (wish === "show") {
			model.set("shown", number);
			model.save_changes();
		} else model.send({ kind: wish, job: number });
	});

	/* -- the result -- */

	function cell(value, type) {
		if (value === null) return "";
		return escaped(typeof value === "number" && CELLS[type] ? CELLS[type](value) : CELLS.text(value));
	}

	function showResult() {
		const found = model.get("result");
		for (const { row, job } of rows.values()) row.classList.toggle("on", job.number === found.number);
		result.dataset.job = found.number || 0;
		if (!found.number) return result.replaceChildren();
		const { columns } = found;
		const right = columns.map(([, type]) => type !== "text");
		const head = columns.map(([heading], i) => `<th scope="col"${right[i] ? ' class="n"' : ""}>${escaped(heading)}</th>`).join("");
		const body = found.rows.map((row) => `<tr>${row.map((value, i) => `<td class="${right[i] ? "n" : String(value).length > LONG_WORD ? "why" : ""}">${cell(value, columns[i][1])}</td>`).join("")}</tr>`).join("");
		const more = found.hidden ? `<p class="soft">${whole(found.hidden)} more rows are in the CSV file.</p>` : "";
		result.innerHTML = `<div class="head"><h3>${escaped(found.heading)}</h3><button type="button" class="csv">Download CSV</button></div>
<p class="sentence">${escaped(found.sentence)}</p><ul class="notes">${found.notes.map((note) => `<li>${escaped(note)}</li>`).join("")}</ul>
<div class="chart"></div><div class="rows" tabindex="0" role="region" aria-label="Table of the result"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>${more}`;
		suppress(result);
		result.querySelector(".csv").addEventListener("click", () => model.send({ kind: "csv", job: found.number }));
		drawChart();
	}

	function drawChart() {
		const { chart, heading } = model.get("result");
		const box = result.querySelector(".chart");
		if (!box || !chart || !result.clientWidth) return;
		const drawn = intervalChart(chart, result.clientWidth - 14, `${heading}.`);
		box.innerHTML = drawn.svg;
		/* What scrolls must be reached by keyboard. */
		if (box.scrollHeight > box.clientHeight + 1) Object.assign(box, { tabIndex: 0, role: "group", ariaLabel: "Chart of the result, scrolls" });
		suppress(result);
	}

	function receive(message) {
		if (message.kind !== "csv") return;
		const link = document.createElement("a");
		link.href = URL.createObjectURL(new Blob([message.text], { type: "text/csv" }));
		link.download = message.name;
		link.click();
		setTimeout(() => URL.revokeObjectURL(link.href), 1000);
	}

	/* -- the page -- */

	/* JupyterLab takes plain keys for itself unless the focused element says otherwise. */
	function suppress(box) {
		for (const part of box.querySelectorAll("button, input, select, [tabindex]")) part.dataset.lmSuppressShortcuts = "true";
	}

	let gone = false; // the kernel
	const showError = () => {
		const text = gone ? GONE_AT_WORK : model.get("error");
		if (alert.textContent !== text) alert.textContent = text;
	};
	const lost = () => {
		gone = true;
		clearInterval(clock);
		showError();
	};
	const showTitle = () => (title.textContent = `Long work \u00b7 ${model.get("title")}`);
	const events = [["msg:custom", receive], ["change:error", showError], ["change:jobs", showJobs], ["change:result", showResult], ["change:title", showTitle], ["comm_live_update", lost]];
	events.push(...["sets", "pictures", "folders"].map((name) => [`change:${name}`, showSets]), ...["bits", "margin"].map((name) => [`change:${name}`, fromLab]));
	for (const [name, handler] of events) model.on(name, handler);
	listen(root, "keydown", (event) => {
		if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
	});
	const sizes = new ResizeObserver(() => {
		if (result.clientWidth === width) return;
		width = result.clientWidth;
		requestAnimationFrame(drawChart);
	});
	sizes.observe(result);
	el.append(root);
	suppress(root);
	for (const show of [showKind, fromLab, showSets, showTitle, showError, showJobs, showResult]) show();
	return () => {
		stopping.abort();
		clearInterval(clock);
		sizes.disconnect();
		for (const [name, handler] of events) model.off(name, handler);
		root.remove();
	};
}

export default { render };
