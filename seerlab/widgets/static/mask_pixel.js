/* One output: the window of the input under the kernel, what it is multiplied with, both sums, and the verdict.
 *
 * `fill(box, p)` writes a reply of the kernel (`LayerStudy.probe` with `p.arrays`, the `OutputTerms`) as tables. A window of hundreds of
 * input channels is told channel by channel, the largest contributions first; what is not listed is in one last row, so that the sums
 * are always complete. */

const ROWS_FIRST = 8; // input channels listed before one asks for more
const ROWS_MORE = 4; // times as many with each request
const VALUES_UP_TO = 3; // columns of a window in whose cells there is room for the value below the code

const exact = (v) => (Number.isInteger(v) ? minus(whole(v)) : real(v));
const tiny = (v) => (abs(v) < 5e-4 ? "0" : minus(v.toFixed(abs(v) >= 100 ? 0 : abs(v) >= 10 ? 1 : abs(v) >= 0.1 ? 2 : 3)));

/** Products and their sums for each input channel: {low, full} in the units of the two sums, and `rank` to order them by. */
export function contributions(p) {
	const { inputs, weights, codes, weightCodes } = p.arrays;
	const taps = p.terms.inside.length * p.terms.inside[0].length;
	const unit = p.terms.unit;
	const one = p.scale_input * p.scale_weight; // what low-bit sums are divided by to be in the layer's units
	const found = [];
	for (let i = 0; i < inputs.length; i += taps) {
		let [low, full] = [0, 0];
		for (let t = i; t < i + taps; t++) {
			low += (codes.length ? codes[t] : inputs[t]) * weightCodes[t];
			full += inputs[t] * weights[t];
		}
		low *= unit;
		found.push({ channel: p.terms.first + i / taps, at: i, low, full, rank: max(abs(low / one), abs(full)) });
	}
	return found.sort((a, b) => b.rank - a.rank || a.channel - b.channel);
}

const totals = (some) => some.reduce((sum, { low, full }) => ({ low: sum.low + low, full: sum.full + full }), { low: 0, full: 0 });

function pixelFigure(view, box) {
	let shown = null;
	let rows = ROWS_FIRST;

	/* -- both sums, line by line -- */

	function ladder(p, all) {
		const products = p.arrays.inputs.length;
		const line = (name, low, full, kind = "") =>
			`<tr class="${kind}"><th scope="row">${name}</th><td>${low === null ? "" : exact(low)}</td><td>${full === null ? "" : full ? real(full) : 0}</td></tr>`;
		const sum = totals(all);
		const test = (low, full) => `<tr><th scope="row">Computed if above</th><td>${exact(low)}</td><td>${full}</td></tr>`;
		const mark = (yes, word) => `<b>${yes ? "\u2713" : "\u2717"}</b> ${word.split(",")[0]}`;
		const reasons = [["Predicted", p.predicted_word], ["Really", p.true_word]].filter(([, word]) => word.includes(","));
		return `<table class="ladder"><caption>Sums</caption><thead><tr><td></td><th scope="col">${p.bits} bit${p.bits === 1 ? "" : "s"}</th><th scope="col">Full precision</th></tr></thead><tbody>
${line(`${whole(products)} product${products === 1 ? "" : "s"}`, sum.low, sum.full)}${line("Bias", p.low_bit_bias, p.bias)}${p.shortcut === null ? "" : line("Shortcut", p.low_bit_shortcut, p.shortcut)}
${line("Sum", p.low_bit_sum, p.sum, "total")}${p.bits > 1 ? line("in the layer\u2019s units", null, null).replace("<td></td>", `<td>\u2248 ${real(p.low_bit_value)}</td>`) : ""}${p.rectified ? test(p.threshold, 0) : ""}
<tr><th scope="row">${p.rectified ? "So it is" : "In its window it is"}</th><td>${mark(p.predicted, p.predicted_word)}</td><td>${mark(p.true, p.true_word)}</td></tr></tbody></table>
<p class="soft">${reasons.map((one) => `${one.join(" ")}.`).join("<br>")}</p>`;
	}

	/* Both sums on one line in the layer's units, with 0 and the threshold. */
	function axis(p) {
		const limit = p.threshold / (p.scale_input * p.scale_weight);
		const values = [p.low_bit_value, p.sum, 0, limit];
		const [low, high] = [min(...values), max(...values)];
		const room = high - low || 1;
		const x = (v) => (30 + (240 * (v - low)) / room).toFixed(1);
		const anchored = (v) => (x(v) > 210 ? "end" : x(v) < 90 ? "start" : "middle");
		const label = (v, y, text) => `<text x="${x(v)}" y="${y}" text-anchor="${anchored(v)}">${text}</text>`;
		const tick = (v, y, text) => `<path d="M${x(v)} 24V44"/>${label(v, y, text)}`;
		return `<svg class="axis" viewBox="0 0 300 70" role="img" aria-label="In the layer's units: low-bit sum ${real(p.low_bit_value)}, full-precision sum ${real(p.sum)}${p.rectified ? `, threshold ${real(limit)}` : ""}">
<path d="M10 34H290"/>${p.rectified && limit ? tick(limit, 68, "threshold") : ""}${tick(0, 56, "0")}
<rect x="${x(p.low_bit_value) - 5}" y="29" width="10" height="10"/>${label(p.low_bit_value, 21, `\u25a0 ${p.bits}-bit sum`)}
<circle cx="${x(p.sum)}" cy="34" r="5.5"/>${label(p.sum, 9, "\u25cf full-precision sum")}</svg>`;
	}

	/* -- the pooling windows it competes in -- */

	function pools(p) {
		const is = (place, r, c) => place[0] === r && place[1] === c;
		return p.windows.map((w, i) => {
			const cells = w.rows.map((r, a) => `<tr>${w.columns.map((c, b) => {
				const [low, full] = [is(w.predicted_largest, r, c), is(w.true_largest, r, c)];
				const here = r === p.row && c === p.column;
				return `<td class="${here ? "here" : ""}"><span class="${low ? "wins" : ""}">${low ? "\u25a0 " : ""}${exact(w.low_bit_sums[a][b])}</span><span class="${full ? "wins" : ""}">${full ? "\u25cf " : ""}${real(w.sums[a][b])}</span></td>`;
			}).join("")}</tr>`).join("");
			const agree = is(w.predicted_largest, ...w.true_largest) ? "both agree" : "they differ";
			return `<table class="pool"><caption>Max-pool window${p.windows.length > 1 ? ` ${i + 1} of ${p.windows.length}` : ""}: ${agree}</caption><tbody>${cells}</tbody></table>`;
		}).join("") + (p.windows.length ? `<p class="soft">\u25a0 largest low-bit sum, \u25cf largest full-precision sum of the window; this output is outlined.</p>` : "");
	}

	/* -- window x weights = products -- */

	function grid(p, at, cell, kind) {
		const inside = p.terms.inside;
		const columns = inside[0].length;
		const cells = inside.map((row, r) => `<tr>${row.map((yes, c) => (yes ? cell(at + r * columns + c) : `<td class="pad" title="padding">\u00b7</td>`)).join("")}</tr>`);
		return `<table class="grid ${kind} ${columns > VALUES_UP_TO ? "dense" : ""}"><tbody>${cells.join("")}</tbody></table>`;
	}

	function terms(p, all) {
		const { inputs, weights, codes, weightCodes } = p.arrays;
		const unit = p.terms.unit;
		const small = p.terms.inside[0].length <= VALUES_UP_TO;
		const listed = all.slice(0, rows);
		const rest = all.slice(rows);
		const low = (i) => (codes.length ? codes[i] : inputs[i]) * weightCodes[i] * unit;
		const taps = p.terms.inside.length * p.terms.inside[0].length;
		let largest = 0;
		for (const { at } of listed) for (let i = at; i < at + taps; i++) largest = max(largest, abs(low(i)));
		const td = (main, value, style = "", off = false) =>
			`<td${off ? ` class="nil"` : ""}${style}${small ? "" : ` title="${tiny(value)}"`}>${main}${small ? `<small>${tiny(value)}</small>` : ""}</td>`;
		const short1 = (v) => (Number.isInteger(v) ? minus(v) : tiny(v));
		const tint = (v) => (v ? ` style="--t:var(--${v > 0 ? "plus" : "minus"});--s:${round((70 * abs(v)) / largest)}%"` : "");
		const body = listed.map(({ channel, at, low: l, full }) => `<tr><th scope="row">${channel}</th>
<td>${grid(p, at, (i) => td(codes.length ? codes[i] : tiny(inputs[i]), inputs[i], "", !inputs[i]), "window")}</td><td class="sign">\u00d7</td>
<td>${grid(p, at, (i) => td(codes.length ? minus(weightCodes[i]) : weightCodes[i] < 0 ? "\u2212" : "+", weights[i]), "weight")}</td><td class="sign">=</td>
<td>${grid(p, at, (i) => td(short1(low(i)), inputs[i] * weights[i], tint(low(i)), !low(i)), "product")}</td>
<td class="sum"><b>${exact(l)}</b><small>${real(full)}</small></td></tr>`).join("");
		const left = totals(rest);
		const other = rest.length ? `<tr><th scope="row" colspan="6">the other ${whole(rest.length)} channel${rest.length === 1 ? "" : "s"} together
<button type="button" class="more" data-lm-suppress-shortcuts="true">Show more</button></th><td class="sum"><b>${exact(left.low)}</b><small>${real(left.full)}</small></td></tr>` : "";
		const all0 = totals(all);
		const scales = p.bits > 1
			? `Code = value \u00d7 scale, rounded: scale ${real(p.scale_input)} for the input, ${real(p.scale_weight)} for these weights.`
			: `With one bit a weight is its sign times ${real(unit)}, the mean size of these weights; the input stays as it is.`;
		const order = all.length > 1 ? `${all.length} input channels, largest contributions first` : `Input channel ${all[0].channel}`;
		return `<table class="terms"><caption>${order}<small>${small ? "Large: low bits. Small: full precision." : "Codes; point at one for its value."} ${scales}</small></caption>
<thead><tr><th scope="col">Ch.</th><th scope="col">Input window</th><td></td><th scope="col">Weights</th><td></td><th scope="col">Products</th><th scope="col" class="sum">Sum</th></tr></thead>
<tbody>${body}${other}</tbody><tfoot><tr><th scope="row" colspan="6">all products</th><td class="sum"><b>${exact(all0.low)}</b><small>${real(all0.full)}</small></td></tr></tfoot></table>`;
	}

	function write() {
		const p = shown;
		const all = contributions(p);
		const place = `Channel ${p.channel}, row ${p.row}, column ${p.column}`;
		const top = box.scrollTop;
		view.fill(box, `<h4 class="verdict">${swatch(p.predicted + 2 * p.true)}<b>${p.verdict}</b><small>${place}</small></h4>
<div class="parts"><div class="sums">${ladder(p, all)}${axis(p)}${pools(p)}</div>${terms(p, all)}</div>`);
		box.scrollTop = top;
	}

	view.listen(box, "click", (event) => {
		if (!event.target.closest(".more")) return;
		rows *= ROWS_MORE;
		write();
		box.focus({ preventScroll: true });
	});

	return {
		/** Show a reply; the list of another output starts with the first rows again. */
		show(p) {
			if (shown && (shown.channel !== p.channel || shown.row !== p.row || shown.column !== p.column)) rows = ROWS_FIRST;
			shown = p;
			write();
		},
	};
}
