"""Writes config/prices.json from the data of the genai-prices package.

    python3 -m venv /tmp/prices && /tmp/prices/bin/pip install genai-prices
    /tmp/prices/bin/python config/prices.py

What is kept: token prices and prices per request, with their dates, hours, size tiers and
variants (batch, flex, priority). What is dropped: descriptions, context windows, prices of what
spans do not count (pictures, characters, seconds, pages, searches), and models that have no price
left. Prices stay in USD per million tokens (per thousand requests), as published.

A model is named by alternatives, each one condition or a list of conditions that must all hold.
The first character of a condition says what it compares with, ignoring case:

    =  the name            ^  its beginning       $  its end       *  any part of it
    #  the name without a date at its end          %  its beginning, followed by a digit
    !  no part of it

The script stops at anything it does not know, so that an update can't lose a rule silently.
"""

import datetime
import importlib.metadata
import json
import pathlib
import re
import sys

from genai_prices import types
from genai_prices.data import providers

RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_image",
    "output_image_mtok": "output_image",
    "output_reasoning_mtok": "reasoning",
    "requests_kcount": "requests",
}

# Prices of what spans do not count.
NOT_COUNTED = re.compile(
    r"^(cache_image_read_mtok|(cache_)?(input_|output_)?video(_read)?_mtok"
    r"|cache_audio_read_mtok|output_citation_mtok|.*_(kcount|hours|mchars|gpixels|kpages))$"
)

# The keys of a request that select a variant, and what spans say about them.
VARIANTS = {"processing", "service_tier", "speed"}

# Patterns that are more than a literal with a date.
PATTERNS = {
    r"^(?!.*-[tT][tT][sS](?:$|-))": ["!-tts"],
    r"^(?![^/]+/)(?:labs-)?(?:(?:mi|code|dev|magi|mini)stral|mixtral|pixtral|voxtral|open-(?:mistral|mixtral))": [
        "^mistral", "^codestral", "^devstral", "^magistral", "^ministral", "^mixtral", "^pixtral",
        "^voxtral", "^open-mistral", "^open-mixtral", "^labs-mistral", "^labs-devstral",
    ],
    r"^o[134]": ["^o1", "^o3", "^o4"],
}

DATE = r"(?:\\d\{8\}|\\d\{4\}-\\d\{2\}-\\d\{2\})"
LITERAL = r"((?:[A-Za-z0-9/_=:@-]|\\[.\[\]])+)"


def literal(text):
    return re.sub(r"\\(.)", r"\1", text)


def of_pattern(pattern):
    """The alternatives that a regular expression stands for."""
    if pattern in PATTERNS:
        return [[condition] for condition in PATTERNS[pattern]]
    if found := re.fullmatch(rf"\^{LITERAL}(?:-|\[-@\]){DATE}\$", pattern):
        return [["#" + literal(found[1])]]
    if found := re.fullmatch(rf"\^\({LITERAL}\)\?{LITERAL}\(-{DATE}\)\?\$", pattern):
        prefix, name = literal(found[1]), literal(found[2])
        return [["#" + name], ["#" + prefix + name]]
    if found := re.fullmatch(rf"\^{LITERAL}\\d", pattern):
        return [["%" + literal(found[1])]]
    if found := re.fullmatch(rf"\^{LITERAL}\$", pattern):
        return [["=" + literal(found[1])]]
    sys.exit(f"unknown pattern {pattern!r}: add it to PATTERNS")


def alternatives(clause):
    """A clause as a list of alternatives, each a list of conditions that must all hold."""
    match clause:
        case None:
            return []
        case types.ClauseEquals():
            return [["=" + clause.equals.lower()]]
        case types.ClauseStartsWith():
            return [["^" + clause.starts_with.lower()]]
        case types.ClauseEndsWith():
            return [["$" + clause.ends_with.lower()]]
        case types.ClauseContains():
            return [["*" + clause.contains.lower()]]
        case types.ClauseRegex():
            return of_pattern(clause.regex)
        case types.ClauseOr():
            return [found for part in clause.or_ for found in alternatives(part)]
        case types.ClauseAnd():
            all_of = [[]]
            for part in clause.and_:
                all_of = [one + more for one in all_of for more in alternatives(part)]
            return all_of
    sys.exit(f"unknown clause {clause!r}")


def condensed(clause):
    return [found[0] if len(found) == 1 else found for found in alternatives(clause)]


def number(value):
    text = format(value.normalize(), "f")
    return int(text) if "." not in text else float(text)


def rates(price):
    """The rates of a price; a rate with size tiers is a list: base, then [above tokens, rate]."""
    found = {}
    for key, value in vars(price).items():
        if value is None or key.startswith("_"):
            continue
        if key not in RATES:
            if not NOT_COUNTED.match(key):
                sys.exit(f"unknown price {key!r}")
            continue
        if isinstance(value, types.TieredPrices):
            tiers = [[tier.start, number(tier.price)] for tier in value.tiers]
            found[RATES[key]] = [number(value.base), *tiers]
        else:
            found[RATES[key]] = number(value)
    return found


def condition(constraint):
    match constraint:
        case None:
            return {}
        case types.StartDateConstraint():
            return {"from": constraint.start_date.isoformat()}
        case types.TimeOfDateConstraint():
            hours = [utc(constraint.start_time), utc(constraint.end_time)]
            return {"hours": hours}
    sys.exit(f"unknown constraint {constraint!r}")


def utc(time):
    if time.tzinfo is not None:
        day = datetime.datetime.combine(datetime.date(2000, 1, 1), time)
        time = day.astimezone(datetime.timezone.utc).time()
    return time.strftime("%H:%M")


def model(source):
    prices = source.prices
    if isinstance(prices, types.ModelPrice):
        prices = [types.ConditionalPrice(prices=prices)]
    listed = [{**condition(price.constraint), **rates(price.prices)} for price in prices]
    if not any(set(price) & {"input", "output", "requests"} for price in listed):
        return None
    entry = {"id": source.id, "match": condensed(source.match), "prices": listed}
    variants = []
    for variant in source.price_variants or []:
        found = rates(variant.prices)
        if found and set(variant.when) <= VARIANTS:
            (when,) = variant.when.values()
            variants.append({"when": when, **condition(variant.constraint), **found})
    if variants:
        entry["variants"] = variants
    return entry


def notice():
    files = importlib.metadata.files("genai-prices") or []
    for file in files:
        if file.name == "LICENSE":
            return file.locate().read_text().strip().splitlines()
    sys.exit("the package has no LICENSE")


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main():
    version = "genai-prices-" + importlib.metadata.version("genai-prices")
    lines = [
        "{",
        f'"version": {json.dumps(version)},',
        '"source": "https://github.com/pydantic/genai-prices",',
        '"written_by": "config/prices.py",',
        f'"license": {json.dumps(notice(), indent=1)},',
        '"providers": [',
    ]
    for provider in providers:
        models = [entry for entry in map(model, provider.models) if entry]
        if not models:
            continue
        head = {"id": provider.id}
        if provider.provider_match:
            head["named"] = condensed(provider.provider_match)
        if provider.model_match:
            head["makes"] = condensed(provider.model_match)
        if provider.fallback_model_providers:
            head["also"] = provider.fallback_model_providers
        lines.append(compact(head)[:-1] + ',"models":[')
        lines += [compact(entry) + "," for entry in models]
        lines[-1] = lines[-1].removesuffix(",")
        lines.append("]},")
    lines[-1] = "]}"
    lines += ["]", "}"]
    text = "\n".join(lines) + "\n"
    json.loads(text)
    pathlib.Path(__file__).with_name("prices.json").write_text(text)
    print(f"{version}: {len(text)} bytes")


main()
