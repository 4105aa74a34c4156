/* Values with intervals, a row for each thing compared: SVG, so that it prints and zooms. */

const ROW = 26; // CSS pixels
const TOP = 30, BOTTOM = 44, RIGHT = 26;
const LETTER = 7.3; // CSS pixels of a letter at 13 px, on the average
const LABELS_AT_MOST = 0.42; // of the width
const READ_OUT = 24; // rows that the chart's text names

/** Four to seven round values that cover [low, high]. */
export function roundTicks(low, high) {
	const span = high - low || 1;
	const base = 10 ** floor(log10(span / 4));
	const step = [1, 2, 5, 10].map((m) => m * base).find((s) => span / s <= 6.5);
	const found = [];
	for (let i = ceil(low / step - 1e-9); i * step <= high + 1e-9 * span; i++) found.push(Number((i * step).toPrecision(12)));
	return found;
}

const figure = (value, unit) => (unit === "%" ? `${(100 * value).toFixed(1)} %` : `${Number(value.toPrecision(3))} ${unit}`);

/* Circle, square, diamond: the second cue beside the colour. */
function mark(place, [x, y], r) {
	if (place === 0) return `<circle class="m0" cx="${x}" cy="${y}" r="${0.85 * r}"/>`;
	if (place === 1) return `<rect class="m1" x="${x - 1.15 * r}" y="${y - 1.15 * r}" width="${2.3 * r}" height="${2.3 * r}"/>`;
	return `<path class="m2" d="M${x} ${y - 1.7 * r}L${x + 1.7 * r} ${y}L${x} ${y + 1.7 * r}L${x - 1.7 * r} ${y}Z"/>`;
}

/** The chart as {svg, text}; `width` in CSS pixels. */
export function intervalChart({ axis, unit, series, rows }, width, text) {
	const values = rows.flatMap(([, marks]) => marks.filter(Boolean).flat());
	let [low, high] = [min(...values), max(...values)];
	if (unit === "%") {
		const room = max(0.01, 0.08 * (high - low));
		[low, high] = [max(0, low - room), min(1, high + room)];
	} else [low, high] = [0, high * 1.04 || 1];
	const longest = max(...rows.map(([label]) => label.length));
	const left = round(min(longest * LETTER + 14, LABELS_AT_MOST * width));
	const letters = floor((left - 12) / LETTER);
	const x = (value) => left + ((width - left - RIGHT) * (value - low)) / (high - low);
	const bottom = TOP + rows.length * ROW;
	const height = bottom + BOTTOM;
	const parts = [];
	for (const value of roundTicks(low, high)) {
		parts.push(`<line class="grid" x1="${x(value)}" x2="${x(value)}" y1="${TOP}" y2="${bottom}"/>`);
		parts.push(`<text x="${x(value)}" y="${bottom + 17}" text-anchor="middle">${unit === "%" ? `${Number((100 * value).toFixed(2))} %` : value}</text>`);
	}
	parts.push(`<line class="edge" x1="${left}" x2="${width - RIGHT}" y1="${bottom}" y2="${bottom}"/>`);
	parts.push(`<text x="${(left + width - RIGHT) / 2}" y="${bottom + 37}" text-anchor="middle">${escaped(axis)}</text>`);
	rows.forEach(([label, marks], i) => {
		const y = TOP + (i + 0.5) * ROW;
		const short = label.length > letters ? `${label.slice(0, max(1, letters - 1))}\u2026` : label;
		parts.push(`<text x="${left - 10}" y="${y + 4.5}" text-anchor="end">${escaped(short)}<title>${escaped(label)}</title></text>`);
		const known = marks.filter(Boolean).map(([value]) => value);
		if (known.length > 1) parts.push(`<line class="span" x1="${x(min(...known))}" x2="${x(max(...known))}" y1="${y}" y2="${y}"/>`);
		[...marks.entries()].reverse().forEach(([place, m]) => {
			if (!m) return;
			const about = `${label}, ${series[place]}: ${figure(m[0], unit)}${m[2] > m[1] ? ` (${figure(m[1], unit)} to ${figure(m[2], unit)})` : ""}`;
			const bar = m[2] > m[1] ? `<line class="i${place}" x1="${x(m[1])}" x2="${x(m[2])}" y1="${y}" y2="${y}"/>` : "";
			parts.push(`<g><title>${escaped(about)}</title>${bar}${mark(place, [x(m[0]), y], 5.5)}</g>`);
		});
	});
	let at = left;
	if (series.length > 1)
		series.forEach((name, place) => {
			parts.push(`${mark(place, [at + 6, 13], 5.5)}<text x="${at + 17}" y="17.5">${escaped(name)}</text>`);
			at += name.length * LETTER + 40;
		});
	const named = rows.slice(0, READ_OUT).map(([label, marks]) => `${label}: ${marks.map((m, place) => (m ? `${series.length > 1 ? `${series[place]} ` : ""}${figure(m[0], unit)}` : "")).filter(Boolean).join(", ")}`);
	const rest = rows.length > READ_OUT ? `; and ${rows.length - READ_OUT} more, in the table` : "";
	const words = `${text} Chart, ${axis}. ${named.join("; ")}${rest}.`;
	return { height, svg: `<svg role="img" aria-label="${escaped(words)}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${parts.join("")}</svg>` };
}
