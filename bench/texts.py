"""The texts of the benchmark: synthetic jobs in the shape of real ones, and hostile shapes. Deterministic."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEX = "0123456789abcdef"
_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_PROMPTS = (
    "小猫飞翔，比例9:16",
    "生成一段高清的，牛马跳舞的视频",
    "a lighthouse at dusk, oil painting, soft light",
    "把背景改成夜空，添加星星点缀",
    "一只戴着围巾的柯基在雪地里奔跑，电影感，浅景深",
)
_MALFORMED = (
    "[half a link](\n",
    "![gen_01](https://cut.example\n",
    "> ID: `task_without_its_end\n",
    ">🏃 进度 12..3x..\n",
    "> 还没有人见过的一行\n",
    "![](x)\n",
    "]()\n",
    "`` `\n",
    "!\n",
    '{"prompt": nope}\n',
)


def jobs(seed: int = 1) -> Iterator[str]:
    """Image and video jobs without end, each with ids and results of its own."""
    source = random.Random(seed)
    yield _image_job(source)
    while True:
        yield _image_job(source) if source.random() < 0.6 else _video_job(source)


def message(size: int) -> str:
    """Whole jobs, one after another, until the text has `size` bytes of UTF-8.

    The text is in the grammar's language without its error rules, and ends with a
    newline: stock Lark can read it too.
    """
    parts: list[str] = []
    written = 0
    for job in jobs():
        if written >= size:
            break
        parts.append(job)
        written += len(job.encode())
    return "".join(parts)


def pieces(text: str, mean: int, seed: int = 3) -> list[str]:
    """The text in deltas of `mean` characters on average: one by one, or 1 to 2 * mean - 1, as a tokenizer cuts."""
    source = random.Random(seed)
    cut: list[str] = []
    at = 0
    while at < len(text):
        size = source.randint(1, 2 * mean - 1)
        cut.append(text[at : at + size])
        at += size
    return cut


def blocks(text: str, size: int) -> list[str]:
    """The text in deltas of exactly `size` characters."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def hostile(share: float = 1.0) -> dict[str, str]:
    """One hostile shape an entry; `share` of its full size."""
    brackets = int(100_000 * share)
    return {
        "data: URL, 4 MB": f"![gen](data:image/png;base64,{'iVBORw0KGgoAAAAN' * int(250_000 * share)})\n",
        "unclosed fence, 1 MB": "```python\n" + "print('never closed')\n" * int(48_000 * share),
        "unclosed echo, 1 MB": '```json\n{"prompt": "x",\n' + '  "n": [1, 2,\n' * int(71_000 * share),
        "100,000 nested brackets": "[" * brackets + "]" * brackets + "\n",
        "— in the echoed JSON": '```json\n{"n": ' + "[" * brackets + "]" * brackets + "}\n```\n",
        "one line of prose, 1 MB": "the picture keeps a warm palette " * int(30_000 * share),
        "200,000 malformed lines": "".join(_MALFORMED) * int(20_000 * share),
    }


def _word(source: random.Random, alphabet: str, size: int) -> str:
    return "".join(source.choices(alphabet, k=size))


def _echo(source: random.Random, *members: str) -> str:
    lines = ",\n".join(f"  {member}" for member in (f'"prompt": "{source.choice(_PROMPTS)}"', *members))
    return f"```json\n{{\n{lines}\n}}\n```\n\n"


def _links(task: str, host: str) -> str:
    return f">[数据预览](https://{host}/web/{task}) | [原始数据](https://{host}/source/{task})\n"


def _ladder(source: random.Random, steps: int) -> str:
    return "..".join(map(str, sorted(source.sample(range(1, 99), steps))))


def _image_job(source: random.Random) -> str:
    task = "task_" + _word(source, _BASE32, 26)
    name = f"202603{source.randint(10, 28)}/{_word(source, _HEX, 30)}.png"
    signature = f"se=2026-03-17T00%3A00%3A00Z&sp=r&sig={_word(source, _HEX, 43)}%3D"
    last = f"https://videos.example/az/{_word(source, _HEX, 32)}/raw?{signature}"
    return "".join(
        (
            _echo(source, '"ratio": "9:16"', '"n": 1'),
            f"> ID: `{task}`\n",
            _links(task, "pro.asyncdata.example"),
            f"\n>🕐 排队中{'.' * source.randint(1, 9)}\n\n",
            f">⚡ 生成中{'.' * source.randint(3, 20)}\n\n",
            f">🏃 进度 {_ladder(source, source.randint(3, 14))}..[100]({last})\n\n",
            "> ✅ 生成完成\n\n\n",
            f"![gen_{_word(source, _BASE32, 26)}](https://pro.filesystem.example/cdn/{name})\n\n",
            f"[点击下载](https://pro.filesystem.example/cdn/download/{name})\n\n",
        )
    )


def _video_job(source: random.Random) -> str:
    task = "task_" + _word(source, _BASE32, 26)
    name = f"202603{source.randint(10, 28)}/{_word(source, _HEX, 30)}"
    return "".join(
        (
            _echo(source, '"orientation": "portrait"'),
            f"> ID: `{task}`\n",
            _links(task, "asyncdata.example"),
            f"> 排队中{'.' * source.randint(2, 8)}\n",
            "> 生成中.\n\n",
            f">🏃 进度 {_ladder(source, source.randint(5, 30))}..\n\n",
            "> 生成完成 ✅\n",
            f"> sid: s_{_word(source, _HEX, 32)}\n\n",
            f"![cover](https://filesystem.example/cdn/{name}.webp)\n",
            f"[在线播放▶️](https://filesystem.example/cdn/{name}.mp4) | ",
            f"[⏬ 下载视频](https://filesystem.example/cdn/download/{name}.mp4)\n\n",
        )
    )
