"""Real clients, each in an environment of its own, as a downstream project would have it.

    nox                     all of them
    nox -s openai2          one
    nox -s rivals           what a call costs, beside every other double that can be installed

uv makes the environments where it is installed: seconds, in place of minutes.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"

# What pyproject.toml configures pytest with must be there.
PYTEST = ("pytest-asyncio>=1.2", "pytest-timeout>=2.4", "pytest-xdist>=3.8")

CLIENTS = {
    "openai3": ("openai>=3",),
    # With it the older respx that we support: it takes none newer than 0.22.
    "openai2": ("openai==2.54.0", "openai-responses", "trio"),
    "langchain": ("langchain-openai",),
    "pydantic_ai": ("pydantic-ai-slim[openai]",),
    "httpx_only": (),
    "httpx2_only": ("httpx2>=2.12",),
    "litellm": ("litellm",),
    "openai_aiohttp": ("openai[aiohttp]>=3",),
}

# Clients that only the relay on loopback reaches, or that reach it in other ways than the one in process.
ON_LOOPBACK = ("litellm", "openai_aiohttp")

# Fault by fault as a socket: the tests' own environment does it for the SDK that it has.
CONFORMING = ("openai2",)


def _session(name: str, requirements: tuple[str, ...]) -> None:
    @nox.session(name=name)
    def client(session: nox.Session) -> None:
        extras = "testing,server" if name in (*ON_LOOPBACK, *CONFORMING) else "testing"
        session.install("-e", f".[{extras}]", *PYTEST, *requirements)
        # Warnings are errors in our own tests; those of other projects are theirs.
        pytest = ("pytest", "-q", "-n0", "-W", "default")
        session.run(*pytest, f"tests/clients/test_{name}.py", *session.posargs)
        if name in CONFORMING:
            session.run(*pytest, "tests/test_conformance.py", "-k", "sees_of_each_fault and openai")


for _name, _requirements in CLIENTS.items():
    _session(_name, _requirements)


RIVALS = {
    "openai3": ("openai>=3", "httpx2-pytest", "vcrpy"),
    "openai2": ("openai==2.54.0", "openai-responses", "pytest-httpx", "vcrpy"),
}


@nox.session(default=False)
@nox.parametrize("sdk", list(RIVALS))
def rivals(session: nox.Session, sdk: str) -> None:
    session.install("-e", ".[testing]", *RIVALS[sdk])
    session.run("python", "bench/doubles.py", *session.posargs)
