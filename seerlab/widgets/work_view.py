"""A place for long work: start it with what the lab shows, watch it, end it, keep what it found."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
import traitlets
from torch import Tensor, nn

from seerlab import networks
from seerlab.engine.accuracy import module_of, name_of, pictures_of
from seerlab.engine.jobs import DONE, Job, JobQueue
from seerlab.engine.picture_sets import PictureSet, folder_pictures, given_pictures
from seerlab.engine.session import choose
from seerlab.engine.work import Chart, Kind, Report, Subject
from seerlab.engine.work_kinds import KINDS, checked_values

from ._assets import module, styles
from ._base import LabWidget, error_text, refuse_unknown

GIVEN, SAMPLES, INPUT = "given", "photographs of the package", "the input shown"
KEYWORDS = ("model", "images", "labels", "layer", "bits", "margin")
ROWS_SENT = 500  # a table longer than this is read as a file
FROM_LAB = ("bits", "margin")


class WorkView(LabWidget):
    """Long work over a network: accuracy of a setting, formats by time, sweeps, acceleration.

    Jobs run one after the other on a thread of their own, and stand still while a reader moves something in any view.

    Parameters
    ----------
    model : str, Network or nn.Module
        Name of a network, a network from ``sl.load``, or an own model in evaluation mode.
    images : Tensor or array (N, C, H, W) of floats, or a list of pictures, optional
        As for ``sl.accuracy``. An own model needs input tensors; a network can do with its photographs or a folder that is chosen later.
    labels : sequence of N whole numbers, optional
        Without them, results tell how often a network agrees with the dense one.
    layer : str
        Dotted name of a convolution, for what is about one layer.
    bits, margin : int
        What the form begins with.

    Attributes
    ----------
    bits, margin : traits
        As above; the form follows them. They can be linked.
    pictures : str
        Name of the pictures that are chosen.
    jobs : list of dict
        What the list shows, read-only.
    shown : int
        Number of the job whose result is shown, 0 for none.
    error : str
        Why the last wish could not be met; empty when it was.

    Raises
    ------
    TypeError
        For an unknown keyword, a model of another kind, or an own model without input.
    ValueError
        For an unknown network, or images and labels that do not belong together.

    Examples
    --------
    >>> import seerlab as sl  # doctest: +SKIP
    >>> work = sl.WorkView("vgg9_cifar10", pictures, labels)  # doctest: +SKIP
    >>> job = work.start("accuracy", bits=4)  # doctest: +SKIP
    >>> job.wait() and job.result.table  # doctest: +SKIP
    """

    _esm = module("work_chart.js", "work_view.js")
    _css = styles("work_view.css")

    kinds: traitlets.List[Any] = traitlets.List().tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    bits = traitlets.Int(4).tag(sync=True)
    margin = traitlets.Int(0).tag(sync=True)
    sets: traitlets.List[Any] = traitlets.List().tag(sync=True)
    pictures = traitlets.Unicode("").tag(sync=True)
    folders = traitlets.Bool(True).tag(sync=True)
    jobs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)
    result: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        model: Any,
        images: Any = None,
        labels: Any = None,
        *,
        layer: str = "",
        bits: int = 4,
        margin: int = 0,
        **refused: object,
    ) -> None:
        refuse_unknown("WorkView", refused, KEYWORDS)
        checked_values(KINDS["accuracy"], {"bits": bits, "margin": margin})
        subject = model if isinstance(model, Subject) else _subject(model, images, layer)
        given = None if images is None else given_pictures(images, labels, GIVEN)
        if images is None and labels is not None:
            raise TypeError("there are labels but no images: give both")
        self._lab_lock = threading.RLock()
        self._lab_subject = subject
        self._lab_own: dict[str, PictureSet] = {} if given is None else {GIVEN: given}
        self._lab_folders: dict[str, tuple[str, str]] = {}  # name -> path, and what is said of it
        self._lab_about: dict[int, tuple[str, Kind]] = {}  # number of a job -> network and kind of work
        self._lab_queue = JobQueue(self._lab_changed, error_text)
        super().__init__(kinds=[_kind(name) for name in KINDS], bits=bits, margin=margin, title=_title(subject))
        self._lab_show_sets()
        self.on_msg(self._lab_receive)
        self.observe(lambda _change: self._lab_show_result(), "shown")

    # --- what a user calls ---

    @property
    def subject(self) -> Subject:
        """The network that new jobs are about."""
        return self._lab_subject

    def follow(self, subject: Subject, images: Any = None, labels: Any = None) -> None:
        """Let new jobs be about another network or layer; those that were asked for stay what they are.

        Parameters
        ----------
        subject : Subject
        images, labels : optional
            As for the constructor, in place of those given before: another network needs other input.
        """
        given = None if images is None else given_pictures(images, labels, GIVEN)
        with self._lab_lock:
            self._lab_subject = subject
            self._lab_own.pop(GIVEN, None)
            if given is not None:
                self._lab_own[GIVEN] = given
        self.title = _title(subject)
        self._lab_show_sets()

    def set_images(self, images: Any, labels: Any = None, name: str = GIVEN) -> None:
        """Offer pictures of one's own, and choose them.

        Parameters
        ----------
        images, labels
            As for the constructor.
        name : str
            What to call them.

        Raises
        ------
        TypeError, ValueError
            If they do not belong together.
        """
        given = given_pictures(images, labels, name)
        with self._lab_lock:
            self._lab_own[name] = given
        self._lab_show_sets(name)

    def add_folder(self, path: str) -> str:
        """Offer the pictures of a folder on the machine of the kernel, and choose them.

        Parameters
        ----------
        path : str
            With a ``labels.csv`` (columns ``file`` and ``class_index``), with a subfolder for each class, or of plain pictures.

        Returns
        -------
        str
            The name they are offered under.

        Raises
        ------
        ValueError
            If it holds no pictures, or says labels that cannot be understood.
        """
        found = folder_pictures(path, self._lab_subject.categories)
        with self._lab_lock:
            name = found.name
            while name in self._lab_own or self._lab_folders.get(name, (path,))[0] != path:
                name += "′"
            self._lab_folders[name] = (path, f"{name} ({len(found)}, {found.origin})")
        self._lab_show_sets(name)
        return name

    def start(self, kind: str, *, pictures: str | None = None, count: int | None = None, **values: Any) -> Job:
        """Ask for a job.

        Parameters
        ----------
        kind : {"accuracy", "selection", "sweep", "acceleration"}
        pictures : str, optional
            Name of the pictures; those chosen when not given.
        count : int, optional
            How many of them, evenly spaced, 1 or more.
        **values
            Answers to what the kind asks for, as in the form; bits and margin are those of the view when not given.

        Returns
        -------
        Job
            ``.wait()``, ``.cancel()``, ``.state``; ``.result`` is a `Report` with ``.table``.

        Raises
        ------
        TypeError, ValueError
            For unknown names and values that will not do.
        RuntimeError
            If the view is closed.
        """
        work = KINDS[choose("kind of work", kind, list(KINDS))]
        own = {name: getattr(self, name) for name in FROM_LAB if kind == "accuracy"}
        answers = checked_values(work, {**own, **values})
        wanted = work.pictures if count is None else count
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise ValueError(f"count={count!r}: give a whole number of pictures, 1 or more")
        with self._lab_lock:
            subject = self._lab_subject
            found = self._lab_set(self.pictures if pictures is None else pictures).spread(wanted)
            job = self._lab_queue.submit(work.title(answers), lambda: work.run(subject, found, answers))
            self._lab_about[job.number] = (subject.name, work)
        self._lab_show_jobs()
        return job

    @property
    def started(self) -> tuple[Job, ...]:
        """The jobs in the list."""
        return self._lab_queue.jobs

    def to_csv(self) -> str:
        """The whole table of the result that is shown, as comma-separated values; empty when there is none."""
        for job in self.started:
            if job.number == self.shown and isinstance(job.result, Report):
                return str(job.result.table.to_csv(index=False))
        return ""

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Block until all jobs have ended; False when the time ran out first."""
        return self._lab_queue.wait_idle(timeout)

    # --- pictures ---

    def _lab_set(self, name: str) -> PictureSet:
        """The pictures of that name, with the labels that fit the present network."""
        names = [value for value, _ in self.sets]
        if not names:
            raise ValueError("there are no pictures: give a folder")
        choose("pictures", name, names)
        if name in self._lab_own:
            return self._lab_own[name]
        if name in self._lab_folders:
            return folder_pictures(self._lab_folders[name][0], self._lab_subject.categories)
        if name == INPUT:
            return given_pictures(self._lab_subject.example, name=INPUT)
        return given_pictures(list(networks.sample_images().values()), name=SAMPLES)

    def _lab_show_sets(self, chosen: str | None = None) -> None:
        with self._lab_lock:
            labels: dict[str, str] = {}
            subject = self._lab_subject
            for name, own in self._lab_own.items():
                labels[name] = f"{name} ({len(own)}, {own.origin})"
            if subject.preprocess is not None:
                labels |= {name: text for name, (_, text) in self._lab_folders.items()}
                labels[SAMPLES] = f"{SAMPLES} (no labels)"
            elif isinstance(subject.example, Tensor) and GIVEN not in labels:
                labels[INPUT] = f"{INPUT} ({len(subject.example)}, no labels)"
            wanted = chosen or self.pictures
            with self.hold_sync():
                self.folders = subject.preprocess is not None
                self.sets = [[name, text] for name, text in labels.items()]
                self.pictures = wanted if wanted in labels else next(iter(labels), "")

    # --- what is shown ---

    def _lab_changed(self, job: Job) -> None:
        """A job began, moved on or ended; on whichever thread."""
        if self.closed:
            return
        self._lab_show_jobs()
        if job.ended and self.shown in (0, job.number) and job.state == DONE:
            if self.shown == job.number:
                self._lab_show_result()
            else:
                self.shown = job.number

    def _lab_show_jobs(self) -> None:
        with self._lab_lock:
            if not self.closed:
                self.jobs = [self._lab_row(job) for job in self._lab_queue.jobs]

    def _lab_row(self, job: Job) -> dict[str, Any]:
        report = job.result
        return {
            "number": job.number,
            "title": job.title,
            "network": self._lab_about[job.number][0] if job.number in self._lab_about else "",
            "state": job.state,
            "error": job.error,
            "sentence": report.sentence if isinstance(report, Report) else "",
            **asdict(job.progress),
        }

    def _lab_show_result(self) -> None:
        with self._lab_lock:
            job = next((job for job in self._lab_queue.jobs if job.number == self.shown), None)
            report = None if job is None else job.result
            if job is None or not isinstance(report, Report):
                self.result = {}
                return
            network, kind = self._lab_about[job.number]
            notes = list(report.notes)
            if kind.timed and job.held_times:
                notes.append(
                    f"It stood still {job.held_times} {'time' if job.held_times == 1 else 'times'} for the knobs; a time may have been "
                    "taken beside them."
                )
            self.result = {
                "number": job.number,
                "heading": f"{job.title} · {network}",
                "sentence": report.sentence,
                "notes": notes,
                "columns": [[heading, kind] for _, heading, kind in report.shown],
                "rows": _cells(report),
                "hidden": max(0, len(report.table) - ROWS_SENT),
                "chart": _chart(report.chart),
            }

    # --- messages ---

    def _lab_receive(self, _widget: object, content: Any, _buffers: object) -> None:
        """Take a wish from the browser; on whichever thread the kernel chooses."""
        if self.closed or not isinstance(content, dict):
            return
        try:
            self._lab_obey(content.get("kind"), content)
        except (TypeError, ValueError, OSError) as exception:
            self.error = error_text(exception)
        else:
            self.error = ""

    def _lab_obey(self, wish: Any, content: Mapping[str, Any]) -> None:
        if wish == "start":
            values = dict(content.get("values", {}))
            self.start(content["work"], pictures=content["pictures"], count=_count(content["count"]), **values)
        elif wish == "folder":
            self.add_folder(str(content["path"]))
        elif wish in ("cancel", "remove", "csv"):
            job = self._lab_queue.job(int(content["job"]))
            if wish == "cancel":
                job.cancel()
            elif wish == "remove":
                self._lab_queue.remove(job)
                self._lab_about.pop(job.number, None)
                if self.shown == job.number:
                    self.shown = 0
            elif isinstance(job.result, Report):
                text = job.result.table.to_csv(index=False)
                name = "".join(c if c.isalnum() else "_" for c in job.title.lower())
                self.send({"kind": "csv", "name": f"{name}.csv", "text": text})
            self._lab_show_jobs()

    def _release(self) -> None:
        self._lab_queue.close()
        with self._lab_lock:
            self._lab_own.clear()
            self._lab_subject = Subject(nn.Identity(), "closed", None)


def _subject(model: Any, images: Any, layer: str) -> Subject:
    """What an own notebook's work is about."""
    network = networks.load(model) if isinstance(model, str) else model
    module = module_of(network)
    preprocess = getattr(network, "preprocess", None)
    example = images
    if preprocess is not None:
        example = preprocess(next(iter(networks.sample_images().values())))
    elif images is None or pictures_of(images) is not None:
        raise TypeError(
            "an own model needs input tensors: give images as floats (N, C, H, W), or a network from seerlab.load"
        )
    weights, categories = getattr(network, "weights", ""), getattr(network, "categories", ())
    return Subject(module, name_of(network), example, layer, str(weights), tuple(categories), preprocess)


def _title(subject: Subject) -> str:
    return f"{subject.name}, {subject.weights}" if subject.weights else subject.name


def _kind(name: str) -> dict[str, Any]:
    """What the form needs to know of a kind."""
    kind = KINDS[name]
    return {
        "name": kind.name,
        "label": kind.label,
        "about": kind.about,
        "count": kind.pictures,
        "fields": [asdict(field) for field in kind.fields],
    }


def _count(text: Any) -> int | None:
    """Number of pictures of the form; empty for the kind's own."""
    if text in ("", None):
        return None
    if isinstance(text, int | float) and text == int(text) and text >= 1:
        return int(text)
    raise ValueError(f"At most {text!r}: give a whole number of pictures, 1 or more")


def _cells(report: Report) -> list[list[Any]]:
    """The table's columns that are shown, in plain values; None where there is none."""
    table: pd.DataFrame = report.table[[name for name, _, _ in report.shown]].head(ROWS_SENT)
    return [[_plain(value) for value in row] for row in table.itertuples(index=False)]


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, bool | int | float) else str(value)


def _chart(chart: Chart | None) -> dict[str, Any] | None:
    return None if chart is None else asdict(chart)
