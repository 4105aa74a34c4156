/* Smooth movement between two pictures of the same thing at different sizes, as if the reader came closer or went away.
 *
 * Both pictures hold a box: the thing that the reader goes to or comes from. On the way the box grows from its place in the first to its
 * place in the second, the first picture around it fading. A reader who asks the system for less movement sees the second at once. */

const TRAVEL_MS = 200;

/** Travels on one canvas; `arrived()` is called at the end of each. */
function traveller(canvas, pen, arrived) {
	const calm = matchMedia("(prefers-reduced-motion: reduce)");
	let from = null;
	let request = 0;

	const copy = () => {
		const picture = document.createElement("canvas");
		[picture.width, picture.height] = [canvas.width, canvas.height];
		picture.getContext("2d").drawImage(canvas, 0, 0);
		return picture;
	};

	function stop() {
		cancelAnimationFrame(request);
		[from, request] = [null, 0];
		delete canvas.dataset.moving;
	}

	/* `picture` so that what lies in its box `a` comes to lie in the box `b`. */
	function show(picture, a, b, alpha) {
		const [sx, sy] = [b.w / a.w, b.h / a.h];
		pen.globalAlpha = alpha;
		pen.drawImage(picture, b.x - a.x * sx, b.y - a.y * sy, picture.width * sx, picture.height * sy);
		pen.globalAlpha = 1;
	}

	return {
		get moving() {
			return request !== 0;
		},
		stop,
		/** Keep what is on the canvas as the start of a travel. */
		leave() {
			stop();
			if (!calm.matches) from = copy();
		},
		/** Go on from there to what is on the canvas now, from box `a` to box `b`; with `blank`, to or from an empty page. */
		go(a, b, blank = "") {
			if (!from) return arrived();
			const first = blank === "from" ? null : from;
			const last = blank === "to" ? null : copy();
			const begun = performance.now();
			canvas.dataset.moving = "true";
			const step = (now) => {
				const t = min(1, max(0, (now - begun) / TRAVEL_MS));
				pen.clearRect(0, 0, canvas.width, canvas.height);
				if (t === 1) {
					if (last) pen.drawImage(last, 0, 0);
					stop();
					return arrived();
				}
				const eased = t * t * (3 - 2 * t);
				// Sizes grow by equal ratios in equal times; the place follows the size, so that one point stays where it is.
				const size = (p, q) => p * (q / p) ** eased;
				const [w, h] = [size(a.w, b.w), size(a.h, b.h)];
				const way = abs(b.w - a.w) > 1 ? (w - a.w) / (b.w - a.w) : eased;
				const box = { x: a.x + way * (b.x - a.x), y: a.y + way * (b.y - a.y), w, h };
				pen.imageSmoothingEnabled = false;
				if (first) show(first, a, box, 1 - eased * eased);
				if (last) show(last, b, box, eased);
				request = requestAnimationFrame(step);
			};
			request = requestAnimationFrame(step);
		},
	};
}
