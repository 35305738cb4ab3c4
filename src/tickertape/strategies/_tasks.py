"""What happened: tasks as a reader takes them away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from hypothesis import strategies as st

from ..events import Kind
from ..task import Result, Status, Task, TaskError
from ..testing._script import failure
from ._arguments import chosen
from ._played import KINDS, PROMPTS, PROSE, REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable

STATUSES: tuple[str, ...] = get_args(Status)
SUFFIXES = {"image": ".png", "video": ".mp4", "audio": ".mp3"}
_IDS = st.integers(0, 1 << 64).map("task_{:02x}".format)


def tasks(
    *, statuses: str | Iterable[str] | None = None, kinds: str | Iterable[str] | None = None
) -> st.SearchStrategy[Task]:
    """Tasks of any of the `statuses`, with results of the `kinds`, that a text could tell of.

    They hold together as a reader's do: a failed task says why, only a completed one has
    results. `contents(task=…)` are texts that tell of one. Shrinks towards a task that
    nothing is known of but its status.
    """
    return _tasks(chosen("statuses", statuses, STATUSES), chosen("kinds", kinds, KINDS))


@st.composite
def _tasks(draw: st.DrawFn, statuses: tuple[str, ...], kinds: tuple[str, ...]) -> Task:
    status: Any = draw(st.sampled_from(statuses))
    if status == "failed" and draw(st.booleans()):  # prose in place of a job
        message = draw(st.sampled_from(PROSE))
        return Task("failed", error=TaskError("text_only", None, message))
    told: dict[str, Any] = {}
    task_id = draw(st.none() | _IDS)
    if task_id is not None and draw(st.booleans()):
        told["links"] = {rel: f"https://relay.example/{rel}/{task_id}" for rel in ("web", "source")}
    if draw(st.booleans()):
        told["parameters"] = {"prompt": draw(PROMPTS), "n": draw(st.integers(1, 4))}
    begun = status == "in_progress" or (status != "queued" and draw(st.booleans()))
    stages = ["queued"] if draw(st.booleans()) else []
    if begun:
        stages += ["generating"] * draw(st.integers(1, 2))
        told["progress"] = tuple(draw(st.lists(st.integers(0, 100), max_size=4)))
    if status == "queued" and not stages and task_id is None:
        stages = ["queued"]
    if status == "completed":
        kind: Any = draw(st.sampled_from(kinds))
        told["results"] = tuple(_result(kind, number) for number in range(draw(st.integers(0, 3))))
    if status == "failed":
        told["error"] = TaskError(**failure(draw(st.sampled_from(REASONS)), ""))
    return Task(status, task_id, stages=tuple(stages), **told)


def _result(kind: Kind, number: int) -> Result:
    name = f"{number}{SUFFIXES[kind]}"
    return Result(kind, f"https://relay.example/cdn/{name}", f"https://relay.example/cdn/download/{name}")
