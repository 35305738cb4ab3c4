"""The patterns of detect-secrets, where it is installed: a second opinion beside our own rules.

It is taken from `bc-detect-secrets`, the copy of detect-secrets that is still kept (the
original has had no release since 2024); both are the package `detect_secrets`, and either
works. Only patterns are used: its verification, which would send what it found to the
services concerned, is never called.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

PLUGINS = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "basic_auth": "BasicAuthDetector",
    "cloudant": "CloudantDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "ibm_cloud_iam": "IbmCloudIamDetector",
    "ibm_cos_hmac": "IbmCosHmacDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "softlayer": "SoftlayerDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "twilio": "TwilioKeyDetector",
}
"""Modules and classes with a shape of their own. Left out are those that guess (high entropy, keywords: every id and
picture of an answer has entropy), Azure's storage key (86 characters of base64 are the end of any picture), and what
our own rules find more exactly (JWT, private keys)."""


@cache
def patterns() -> tuple[tuple[str, re.Pattern[str]], ...] | None:
    """Names and patterns; None where the package is not installed. Plugins that a version lacks are left out."""
    found = []
    try:
        import_module("detect_secrets")
    except ImportError:
        return None
    for module, name in PLUGINS.items():
        try:
            plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
        except (ImportError, AttributeError):
            continue
        found += [(str(plugin.secret_type), pattern) for pattern in plugin.denylist]
    return tuple(found)


def scan(text: str) -> Iterator[tuple[str, int, int]]:
    """Name and place of what looks like a secret, placeholders left out."""
    for name, pattern in patterns() or ():
        for match in pattern.finditer(text):
            group = next((number for number in range(1, pattern.groups + 1) if match[number]), 0)
            if "REDACTED" not in match[0] and "redacted.invalid" not in match[0]:
                yield name, match.start(group), match.end(group)
