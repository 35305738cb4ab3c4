"""What is a secret: by its shape, or by the name it goes by. Vocabulary; `redaction.py` applies it.

Shapes are bounded on the left by what cannot be part of them, and repeat possessively
or up to a bound, so that every search is linear.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from ._rewrite import CALLED, Passage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of secret, and how it is found.

    A pattern finds its group named `secret`, else its first group, else all of its match.
    A function gets a text and returns spans in it (start, end); the text is a `Passage`,
    which tells its `kind`, `name` and `side`, and is asked again decoded where it is
    written with escapes.
    """

    name: str
    pattern: str | re.Pattern[str] | Callable[[str], Iterable[tuple[int, int]]]
    family: str = "secret"
    """What placeholders are named after: lower-case letters."""
    side: Literal["request", "response"] | None = None
    """Where it is looked for; None is both."""
    source: str = ""
    """Who documents the form."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z]+", self.family):
            raise ValueError(f"family {self.family!r} of rule {self.name!r}: expected lower-case letters")
        if isinstance(self.pattern, str):
            object.__setattr__(self, "pattern", re.compile(self.pattern))

    def find(self, text: Passage) -> Iterable[tuple[int, int]]:
        """Spans of the secrets, empty ones included."""
        if self.side not in (None, text.side):
            return ()
        if callable(self.pattern):
            return self._checked(text, self.pattern(text))
        assert isinstance(self.pattern, re.Pattern)
        group: str | int = "secret" if "secret" in self.pattern.groupindex else min(self.pattern.groups, 1)
        return (match.span(group) for match in self.pattern.finditer(text))

    def _checked(self, text: str, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for start, end in spans:
            if not 0 <= start <= end <= len(text):
                raise ValueError(
                    f"rule {self.name!r} found ({start}, {end}) in a text of {len(text)}; expected places in it"
                )
            yield start, end


# -- by shape -----------------------------------------------------------------------

_LEFT = r"(?<![A-Za-z0-9_-])"
_SHAPES: tuple[tuple[str, str, str, str], ...] = (
    # Prose may say "sk-learn-like-approaches": a key has a capital, a digit, or a long word.
    ("openai-key", "key", r"(?:sk|sess)-(?=[a-z_-]*+[A-Z0-9]|[A-Za-z0-9_-]*?[a-z]{20})[A-Za-z0-9_-]{20,}+", "OpenAI"),
    ("masked-key", "key", r"sk-[A-Za-z0-9_-]{0,20}\*{3,}+[A-Za-z0-9_-]*+", "OpenAI's and new-api's error texts"),
    ("google-key", "key", r"AIza[A-Za-z0-9_-]{35}", "gitleaks: gcp-api-key"),
    ("google-oauth-token", "key", r"(?:ya29\.|GOCSPX-)[A-Za-z0-9_-]{20,}+", "Google Identity"),
    ("aws-key-id", "key", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])", "gitleaks: aws-access-token"),
    ("azure-key", "key", r"[A-Za-z0-9]{52}JQQJ9[A-Za-z0-9]{27}(?![A-Za-z0-9])", "Azure AI services"),
    ("azure-client-secret", "key", r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}", "gitleaks: azure-ad-client-secret"),
    ("azure-storage-key", "key", r"(?:Account|SharedAccess)Key=([A-Za-z0-9+/]{40,}+={0,2})", "Azure Storage"),
    ("github-token", "key", r"gh[pousr]_[A-Za-z0-9]{36,}+", "gitleaks: github-pat"),
    ("github-fine-grained-token", "key", r"github_pat_[A-Za-z0-9_]{22,}+", "gitleaks: github-fine-grained-pat"),
    ("gitlab-token", "key", r"glpat-[A-Za-z0-9_-]{20,}+", "gitleaks: gitlab-pat"),
    ("slack-token", "key", r"xox[abeoprs]-[A-Za-z0-9-]{10,}+", "gitleaks: slack-bot-token"),
    ("slack-webhook", "key", r"hooks\.slack\.com/services/([A-Za-z0-9/]{20,}+)", "gitleaks: slack-webhook-url"),
    ("huggingface-token", "key", r"hf_[A-Za-z0-9]{30,}+", "gitleaks: huggingface-access-token"),
    ("stripe-key", "key", r"(?:[srp]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}+", "gitleaks: stripe-access-token"),
    ("npm-token", "key", r"npm_[A-Za-z0-9]{36}", "gitleaks: npm-access-token"),
    ("sendgrid-token", "key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,}+", "gitleaks: sendgrid-api-token"),
    ("telegram-token", "key", r"\d{8,10}:AA[A-Za-z0-9_-]{33}", "gitleaks: telegram-bot-api-token"),
    ("groq-key", "key", r"gsk_[A-Za-z0-9]{40,}+", "Groq"),
    ("xai-key", "key", r"xai-[A-Za-z0-9]{60,}+", "xAI"),
    ("replicate-token", "key", r"r8_[A-Za-z0-9]{32,}+", "Replicate"),
    ("runway-key", "key", r"key_[0-9a-f]{64,}+", "Runway"),
    ("zhipu-key", "key", r"[0-9a-f]{32}\.[A-Za-z0-9]{16}(?![A-Za-z0-9])", "Zhipu"),
    ("aliyun-key-id", "key", r"LTAI[A-Za-z0-9]{12,26}(?![A-Za-z0-9])", "gitleaks: alibaba-access-key-id"),
    ("tencent-key-id", "key", r"AKID[A-Za-z0-9]{13,44}(?![A-Za-z0-9])", "Tencent Cloud CAM"),
    ("volcengine-key-id", "key", r"AKLT[A-Za-z0-9]{20,60}(?![A-Za-z0-9])", "Volcengine IAM"),
    ("jwt", "token", r"eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+", "RFC 7519"),
    ("akamai-hmac", "signature", r"hmac=([0-9A-Fa-f]{16,}+)", "Akamai's token authentication"),
    ("bearer", "key", r"(?i:bearer)[ \t]+(?=[a-z._~+/-]*+[A-Z0-9=])([A-Za-z0-9._~+/-]{16,}+=*+)", "RFC 6750"),
    ("aws-account", "account", r"arn:aws[a-z-]{0,12}:[a-z0-9-]{0,32}:[a-z0-9-]{0,32}:(\d{12})", "AWS IAM"),
    ("account-id", "account", r"(?:org|user|acct|proj)[-_][A-Za-z0-9]{16,}+", "OpenAI's and Stripe's error texts"),
    ("user-id", "user", r"(?i:user)[ _]?(?i:id)[ \"'\\:=\[#]{1,5}([A-Za-z-]{0,20}\d[A-Za-z0-9-]{0,64}+)", "new-api"),
    ("user-number", "user", r"(?i:user) #?(\d{1,12})(?= (?:quota|balance|credit|is|has|not|exceed))", "new-api"),
)
_QUOTED = r"[\[\"'`“「『]([A-Za-z0-9_.@*一-鿿-]{1,64})[\]\"'`”」』](?!\()"
_ACCOUNTS = (
    rf"(?:用户|令牌|账号|账户|渠道|组织)(?: ?(?:ID|id|名|名称|名为))?[ :：]{{0,2}}{_QUOTED}",
    rf"(?<![A-Za-z])(?i:account|username|organi[sz]ation)(?: name)?[ :]{{1,2}}{_QUOTED}",
    r"(?<![A-Za-z])(?i:user|token) ?\[([A-Za-z0-9_.@*-]{1,64})\](?!\()",
    r"用户 ?(?:ID|id)? ?[:：] ?(\d{1,12})",
)
_LETTERS = "A-Za-zÀ-ÖØ-öø-ɏͰ-ϿЀ-ԯḀ-ỿ"
"""Of scripts that put spaces between words: in Chinese, prose before an address would be taken for a part of it."""
_ATOM = f"[{_LETTERS}0-9_%+-]"
_EMAIL = re.compile(  # no two dots in a row: "48..bob@…" is a percentage and an address
    rf"(?<!{_ATOM}){_ATOM}{{1,64}}+(?:[.'’]{_ATOM}{{1,64}}+){{0,8}}+@"
    rf"(?:[{_LETTERS}0-9-]{{1,63}}\.){{1,8}}[{_LETTERS}]{{2,24}}(?![{_LETTERS}0-9])"
)
_RESERVED = re.compile(r"(?:[@.]example\.(?:com|net|org)|\.(?:example|invalid|test|localhost))$", re.IGNORECASE)
_CREDENTIALS = re.compile(r"://[^\s/@:?#\"'<>]{0,256}:([^\s/@?#\"'<>]{1,256})@")


def _emails(text: str) -> Iterator[tuple[int, int]]:
    """Addresses, but not `user:password@host` of a URL, and none of RFC 2606's."""
    credentials = [match.span() for match in _CREDENTIALS.finditer(text)]
    for match in _EMAIL.finditer(text):
        if not _RESERVED.search(match[0]) and not any(start < match.start() < end for start, end in credentials):
            yield match.span()


_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----")
_BLOCK_LINE = re.compile(r"[A-Za-z0-9+/=]{8,}+")


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    """The lines of a PEM block, each by itself, so that the text keeps its lines."""
    for match in _BLOCK.finditer(text):
        end = text.find("-----", match.end())
        for line in _BLOCK_LINE.finditer(text, match.end(), end if end >= 0 else len(text)):
            yield line.span()
        if end < 0:
            return


_DATA_URL = re.compile(r"data:[\w.+-]{1,40}/[\w.+-]{1,80};base64,([A-Za-z0-9+/_=-]{16,}+)")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{512,}+={0,2}|[A-Za-z0-9_-]{512,}+={0,2}")


_MEDIA = re.compile(  # by the type a URL declares, or by the first bytes
    r"data:(?:image|video|audio)/(?!svg)[\w.-]{1,40}(?:;[\w=.-]{1,40}){0,2};base64,([A-Za-z0-9+/_-]{256,}+={0,2})"
    r"|(?<![A-Za-z0-9+/_-])((?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|GkXfo|SUQz|T2dnU|ZkxhQ|AAAA.GZ0eX)[A-Za-z0-9+/_-]{256,}+={0,2})"
)
_WHOLE = re.compile(r"[A-Za-z0-9+/_-]{256,}+={0,2}")


def media(text: str) -> Iterator[tuple[int, int]]:
    """Pictures, films and sound in base64, in which no secret is looked for: what is no text where it begins."""
    if len(text) < 256:
        return
    if isinstance(text, Passage) and text.name == "b64_json" and _WHOLE.fullmatch(text):
        if not _is_text(text[:256]):
            yield 0, len(text)
        return
    for match in _MEDIA.finditer(text):
        start, end = match.span(match.lastindex or 0)
        if not _is_text(text[start : start + 256]):
            yield start, end


def _is_text(encoded: str) -> bool:
    encoded = encoded.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(encoded[: len(encoded) // 4 * 4], validate=True)
    except ValueError:
        return True
    # A character may be cut at the end.
    return "\0" not in (said := data.decode("utf-8", "ignore")) and len(said.encode()) > len(data) - 4


def _images(text: str) -> Iterator[tuple[int, int]]:
    """What a request carries in base64, in data URLs or as a whole string."""
    if _BASE64.fullmatch(text):
        yield 0, len(text)
    for match in _DATA_URL.finditer(text):
        yield match.span(1)


# -- by name ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Named:
    """Names under which a secret stands. They are compared in lower case, with `-` for `_`."""

    family: str
    kinds: tuple[str, ...]
    names: frozenset[str]
    least: int = 1
    """Characters of a value that is a secret; from 8 on it also has a digit, and is no path and no words."""


def _named(family: str, kinds: str, names: str, least: int = 1) -> Named:
    return Named(family, tuple(kinds.split()), frozenset(names.split()), least)


_STRONG = (
    "api-key apikey x-api-key access-token accesstoken refresh-token refreshtoken id-token auth-token authtoken "
    "session-token client-secret clientsecret secret-key secretkey secret-access-key app-secret appsecret "
    "access-key-secret accesskeysecret access-key accesskey access-key-id accesskeyid password passwd passphrase "
    "private-key privatekey signing-secret webhook-secret security-token securitytoken bot-token mj-api-secret "
    "notify-secret"
)
NAMED = (
    _named(
        "key",
        "header query json",
        "authorization proxy-authorization x-authorization x-goog-api-key x-goog-iam-authorization-token "
        "ocp-apim-subscription-key x-auth-token x-access-token x-amz-security-token x-goog-user-token xi-api-key "
        "x-csrf-token x-fal-key pwd " + _STRONG,
    ),
    _named("key", "header json query", "token secret auth credentials", 8),
    _named("key", "query", "key", 8),  # in JSON, `key` is more often the path of an object
    _named("cookie", "header", "cookie set-cookie cookie2 set-cookie2"),
    # Azure SAS: skoid and sktid tell whose key has signed. The times (se, st) stay: links show their age.
    _named("signature", "query", "sig signature sign x-signature x-sign"),
    _named("account", "query", "skoid sktid saoid suoid"),
    _named("signature", "query", "x-amz-signature x-goog-signature x-oss-signature x-tos-signature x-obs-signature"),
    _named(
        "credential",
        "query",
        "x-amz-credential x-amz-security-token awsaccesskeyid x-goog-credential googleaccessid ossaccesskeyid "
        "x-oss-credential x-oss-security-token x-oss-access-key-id x-tos-credential x-tos-security-token q-ak "
        "x-cos-security-token key-pair-id x-obs-security-token q-token",
    ),
    # The key that Tencent COS signs with holds for the times in it; the policy of CloudFront names the resource.
    _named("signature", "query", "q-signature policy"),
    # Aliyun's CDN; Discord's attachments, as Midjourney's images are
    _named("signature", "query", "auth-key hm", 16),
    _named(
        "account",
        "header",
        "openai-organization openai-project x-organization-id anthropic-organization-id x-goog-user-project",
    ),
    _named("user", "header", "new-api-user x-user-id x-user x-user-email x-end-user x-username veloera-user"),
    _named("address", "header", "x-forwarded-for x-real-ip cf-connecting-ip true-client-ip x-client-ip forwarded"),
    _named(
        "user",
        "json number query",
        "user user-id userid uid user-name username user-email user-phone end-user end-user-id "
        "safety-identifier customer-id",
    ),
    _named(
        "account",
        "json number query",
        "account account-id accountid account-name account-email account-phone organization organization-id "
        "org-id orgid tenant-id token-name token-id project-id",
    ),
)
_BY_NAME = {(kind, name): named for named in NAMED for kind in named.kinds for name in named.names}
_IN_TEXT = frozenset(_STRONG.split())
_SCHEME = re.compile(r"(?i:bearer|basic|token|digest|key|apikey|hmac|[a-z0-9]+-hmac-[a-z0-9]+)[ \t]+")
_PLAIN = re.compile(r"\s|://|\.[A-Za-z0-9]{2,5}$|^task_")
_PARAMETER = re.compile(r"(?<=[?&;#])([A-Za-z0-9_.-]{1,64})=([A-Za-z0-9._~%+/=:,*!$@-]++)")
_ASSIGNED = re.compile(
    r"(?<![A-Za-z0-9_-])([A-Za-z][A-Za-z0-9_-]{1,48}+)[\"'\\]{0,4}[ \t]{0,4}[:=：][ \t]{0,4}[\"'\\]{0,4}"
)
_VALUE = re.compile(r"[A-Za-z0-9._~+/=!@#$%^*-]{8,}+")


_PAIR = re.compile(  # of JSON, also where it is a part of a text, or breaks off; else a brace
    r'"([A-Za-z][A-Za-z0-9_.-]{0,63}+)"[ \t\r\n]{0,8}+:[ \t\r\n]{0,8}+'
    r'(?:"([^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+)|(-?[0-9]++)(?![.0-9A-Za-z])|(\{)|)|[{}]'
)
_ELEMENT = re.compile(r"<([A-Za-z][A-Za-z0-9_-]{2,48}+)>([^<>\s]{8,4096}+)</")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HEADER = re.compile(r"x-(?:[a-z0-9]{1,32}+-){0,6}+(?:token|key|secret)|x-session-id")
_NO_HEADER = re.compile(
    r"(?:^|-)(?:idempotency|idempotent|cache|surrogate|routing|partition|sort|next|page|continuation|ratelimit|limit)-"
)
_OWN_HEADER = _named("key", "header", "")


@lru_cache(1024)
def _named_as(kind: str, name: str) -> Named | None:
    if not 0 < len(name) <= 100:
        return None
    plain = name.lower().replace("_", "-")
    if found := _BY_NAME.get((kind, plain)):
        return found
    if kind == "header":
        return _OWN_HEADER if _HEADER.fullmatch(plain) and not _NO_HEADER.search(plain) else None
    return _BY_NAME.get((kind, _CAMEL.sub("-", name).lower().replace("_", "-")))


def _by_name(family: str) -> Callable[[str], Iterator[tuple[int, int]]]:
    """Finds what stands under a name of this family: a value, or one in a URL or an assignment inside of a text."""

    def find(text: str) -> Iterator[tuple[int, int]]:
        where = (text.kind, text.name, text.also) if isinstance(text, Passage) else ("text", "", "")
        return ((start, end) for start, end, of in _under_names(text, *where) if of == family)

    return find


@lru_cache(1)  # all families ask for the same text, one after the other
def _under_names(text: str, kind: str, name: str, also: str) -> tuple[tuple[int, int, str], ...]:
    """What stands under a name, in this text or by what it is called itself, with the family."""
    found: list[tuple[int, int, str]] = []

    def add(named: Named | None, start: int, end: int, called: str) -> None:
        if named:
            value = text[start:end]
            spans = _cookies(value, called) if named.family == "cookie" else _value(value, named)
            found.extend((start + first, start + last, named.family) for first, last in spans)

    add(_named_as(kind, name), 0, len(text), name)
    if also and text.lower() != (called := also.removesuffix(":")).lower():
        named = _named_as(kind, called)
        if named is None and called != also:
            named = _named_as("header", called)
        add(named, 0, len(text), called)
    if kind == "number":
        return tuple(found)
    for match in _PARAMETER.finditer(text):
        if (query := _named_as("query", match[1])) and query.family != "cookie":
            add(query, match.start(2), match.start(2) + len(match[2].rstrip(".,;:!*")), match[1])  # may end a sentence
    if kind != "header" and '"' in text:
        for names, of_kind, start, end in _pairs(text):
            for called in names:
                add(_named_as(of_kind, called), start, end, called)
    found.extend((start, end, "key") for start, end in _assigned(text))
    return tuple(found)


def _pairs(text: str) -> Iterator[tuple[tuple[str, ...], str, int, int]]:
    """The names of each value of JSON in a text, its kind and its place.

    A value is called by its key, by the key of its object too (`user-id`), and by what stands beside it
    as its name: `{"name": "Authorization", "value": "…"}`.
    """
    opened: list[str] = []  # the keys of the objects around
    called: dict[int, str] = {}  # by how deep: what an object says is the name of its value…
    waiting: dict[int, tuple[int, int]] = {}  # … and the value that came before it
    for match in _PAIR.finditer(text):
        key, value, number, brace = match.groups()
        depth = len(opened)
        if brace or match[0] == "{":
            opened.append(key or "")
        elif match[0] == "}":
            called.pop(depth, None)
            waiting.pop(depth, None)
            if opened:
                opened.pop()
        elif number is not None:
            yield (key, f"{opened[-1]}-{key}" if opened else ""), "number", *match.span(3)
        elif value:
            yield (key, f"{opened[-1]}-{key}" if opened else ""), "json", *match.span(2)
            if key.lower() in CALLED:
                called[depth] = value
                if depth in waiting and text[slice(*waiting[depth])].lower() != value.lower():
                    yield (value,), "header" if _named_as("header", value) else "json", *waiting.pop(depth)
            elif key.lower() == "value":
                waiting[depth] = match.span(2)
                if depth in called and value.lower() != called[depth].lower():
                    name = called[depth]
                    yield (name,), "header" if _named_as("header", name) else "json", *match.span(2)


def _assigned(text: str) -> Iterator[tuple[int, int]]:
    """Values of assignments to strong names, and of XML elements with such a name."""
    at = 0
    while assigned := _ASSIGNED.search(text, at):
        at = assigned.end()  # what follows another name may be an assignment itself: "error: password=…"
        if _is_strong(assigned[1]) and (told := _VALUE.match(text, at)):
            at = told.end()
            value = told[0].rstrip(".,;:!")
            if len(value) >= 8 and _is_mixed(value):
                yield told.start(), told.start() + len(value)
    for element in _ELEMENT.finditer(text):
        if (_is_strong(element[1]) or _is_strong(_CAMEL.sub("-", element[1]))) and _is_mixed(element[2]):
            yield element.span(2)


def _is_strong(name: str) -> bool:
    name = name.lower().replace("_", "-")
    return name in _IN_TEXT or any(name.endswith(f"-{known}") for known in _IN_TEXT)


def _is_mixed(value: str) -> bool:
    return bool(re.search("[0-9]", value) and re.search("[A-Za-z]", value))


def _value(text: str, named: Named) -> Iterator[tuple[int, int]]:
    """The secret of a value: without the scheme of an authorization."""
    scheme = _SCHEME.match(text) if named.family == "key" else None
    start = scheme.end() if scheme else 0
    secret = text[start:]
    is_vague = named.least >= 8 and (_PLAIN.search(secret) or not re.search("[0-9]", secret))
    if len(secret) >= named.least and not is_vague:
        yield start, len(text)


_CRUMB = re.compile(r'(?:[^;"]++|"[^"]*+"|")++')
_ATTRIBUTE = re.compile(
    r"(?i:(?:path|domain|expires)=|max-age=-?[0-9]*+$|(?:samesite|priority)=[a-z]*+$"
    r"|version=\"?[0-9]?\"?$|(?:httponly|secure|partitioned|discard)$)"
)
_NEXT_COOKIE = re.compile(r",[ \t]*+(?=[^=;,\s\"]++=)")


def _cookies(text: str, name: str) -> Iterator[tuple[int, int]]:
    """The values of cookies: all up to the next `;` that is not quoted. What has no name is a value.

    Attributes (of `Set-Cookie` only, behind the cookie) stay; several headers may be joined by commas.
    """
    is_set = name.lower().startswith("set")
    for number, crumb in enumerate(_CRUMB.finditer(text)):
        start = crumb.start() + len(crumb[0]) - len(crumb[0].lstrip())
        if is_set and number and _ATTRIBUTE.match(crumb[0].strip()):
            following = _NEXT_COOKIE.search(crumb[0])
            if not following:
                continue
            start = crumb.start() + following.end()
        end = crumb.start() + len(crumb[0].rstrip())
        _, equals, value = text[start:end].partition("=")
        if equals:
            start = end - len(value.lstrip())
        if end - start > 1 and text[start] == text[end - 1] == '"':
            start, end = start + 1, end - 1
        if start < end:
            yield start, end


RULES: tuple[Rule, ...] = (
    *(Rule(name, _LEFT + shape, family, source=source) for name, family, shape, source in _SHAPES),
    Rule("private-key", _private_keys, "pem", source="RFC 7468"),
    Rule("e-mail", _emails, "email", source="RFC 5321"),
    Rule("url-password", _CREDENTIALS, "key", source="RFC 3986"),
    Rule("image", _images, "image", side="request", source="RFC 2397"),
    *(Rule("account-name", pattern, "user", source="error texts of new-api, one-api") for pattern in _ACCOUNTS),
    *(Rule(f"named-{family}", _by_name(family), family) for family in dict.fromkeys(named.family for named in NAMED)),
)
"""In this order: of two rules that find the same span, the earlier names it."""
