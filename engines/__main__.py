"""Unfold without a browser: `python -m engines list | run | measure | record | train | export | weights | world`.

`run` writes a trace (JSON lines) on stdout, progress goes to stderr. An error is one line on stderr that says
what to do, with an exit code and no traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from contextlib import suppress
from typing import Any, NoReturn

from engines.errors import Refused, UnfoldError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(message, fix=f"See `{self.prog} --help`.")


def main(argv: list[str] | None = None) -> int:
    parser = _Parser(prog="python -m engines", description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("list", help="the exhibits")
    verb.add_argument("--json", action="store_true")
    verb = verbs.add_parser("run", help="one run; its trace on stdout")
    verb.add_argument("slug")
    verb.add_argument("--seed", type=int)
    verb.add_argument("--set", nargs="*", action="extend", default=[], metavar="name=value")
    verb.add_argument("--lane", action="append")
    verb.add_argument("--checkpoint", metavar="hub:ORG/NAME", help="write with a public network, or with a folder's")
    verb.add_argument("--draft", metavar="hub:ORG/NAME", help="a smaller one of the same series that guesses for it")
    verb = verbs.add_parser("measure", help="measure an exhibit's claims")
    verb.add_argument("slug")
    verb.add_argument("--effort", type=float, default=1.0, help="1 takes up to two minutes")
    verb.add_argument("--seed", type=int)
    verb.add_argument("--claim", action="append")
    verb.add_argument("--json", action="store_true")
    verb.add_argument("--save", action="store_true", help="write assets/claims/<slug>.json")
    verb = verbs.add_parser("record", help="record the default run that the page shows first")
    verb.add_argument("slug", nargs="?")
    verb.add_argument("--check", action="store_true", help="run again and compare with the stored trace")
    verb = verbs.add_parser("train", help="train networks from a seed")
    verb.add_argument("recipe", nargs="*")
    verb.add_argument("--all", action="store_true")
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--jobs", type=int, default=1)
    verb.add_argument("--steps", type=int)
    verb.add_argument("--seconds", type=float)
    verb.add_argument("--text", metavar="FILE", help="the Shakespeare to learn from; else ../shared/data, else the Hub")
    verb = verbs.add_parser("export", help="write ONNX graphs of networks; those stored already if none is named")
    verb.add_argument("net", nargs="*")
    verb = verbs.add_parser("weights", help="the ledger of stored networks")
    verb.add_argument("--judge", nargs="+", metavar="NET", help="score these and note it in their files")
    verb.add_argument("--text", metavar="FILE", help="the Shakespeare that held-out passages are taken from")
    verb = verbs.add_parser("world", help="compile the stories' grammar, or learn Shakespeare's pieces, and store it")
    verb.add_argument("name", nargs="?", default="stories", choices=("stories", "shakespeare"))
    verb.add_argument("--text", metavar="FILE", help="the Shakespeare to learn from; else ../shared/data, else the Hub")
    try:
        args = parser.parse_args(argv)
        code = int(globals()[f"_{args.verb}"](args) or 0)
        sys.stdout.flush()
        return code
    except UnfoldError as error:
        fix = f" {error.fix}" if error.fix else ""
        # what somebody typed must not steer the terminal or fill it
        line = "".join(c if c.isprintable() else "?" for c in f"{str(error).rstrip('.')}.{fix}")
        print("unfold: " + re.sub(r"\S{200,}", lambda m: m[0][:40] + "…", line), file=sys.stderr)
        return error.code
    except BrokenPipeError:  # nobody reads any more
        _hush()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written to: files of before are as they were
        _hush()
        where = f" ({error.filename})" if error.filename else ""
        print(f"unfold: {error.strerror or type(error).__name__}{where}. Make room there, or allow writing, "
              "and try again.", file=sys.stderr)
        return UnfoldError.code
    except KeyboardInterrupt:
        return 130


def _hush() -> None:
    """What is left in the buffer goes nowhere: stdout takes no more, and Python would say so at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _list(args: argparse.Namespace) -> None:
    from engines import catalog  # noqa: PLC0415 - `--help` should not wait for torch

    if args.json:
        print(json.dumps([e.describe() for e in catalog.EXHIBITS.values()], ensure_ascii=False))
        return
    for e in catalog.EXHIBITS.values():
        print(f"{e.slug:14} {e.title:24} {e.paper.venue}, arXiv {e.paper.arxiv}")
        for s in e.settings:
            print(f"               --set {s.name}={s.default!s:8} {s.help}")


def pairs(items: list[str]) -> dict[str, Any]:
    """`["k=3", …]` -> `{"k": "3"}`; the setting itself turns the text into a value."""
    out = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign:
            raise Refused(f"--set {item[:40]!r} has no '='; write name=value", name)
        out[name] = value
    return out


def _run(args: argparse.Namespace) -> None:
    from engines import events, runtime  # noqa: PLC0415

    settings = pairs(args.set)
    if args.checkpoint or args.draft:
        settings = {"text": _offer(args)} | settings
    header = runtime.header(args.slug, settings, args.seed, lanes=args.lane)
    out = list(runtime.run(args.slug, settings, args.seed, lanes=args.lane))
    sys.stdout.write(events.write_trace(header, out))
    for event in out:
        if isinstance(event, events.Failed):
            raise UnfoldError(f"lane {event.lane!r} broke: {event.message}", event.fix)


def _offer(args: argparse.Namespace) -> str:
    """Load what --checkpoint and --draft name; the value of the setting `text` that chooses it."""
    from engines.next_token import checkpoints, exhibits  # noqa: PLC0415

    if not args.checkpoint:
        raise Refused("--draft guesses for a --checkpoint; name that too", "checkpoint")
    if args.slug not in (slugs := [e.slug for e in exhibits.EXHIBITS]):
        raise Refused(f"--checkpoint goes with {' and '.join(slugs)}", "checkpoint")
    return checkpoints.offer(args.checkpoint, args.draft)


def _measure(args: argparse.Namespace) -> None:
    from engines import record, runtime  # noqa: PLC0415

    final: list[dict[str, Any]] = []
    for result in runtime.measure(args.slug, args.effort, args.seed, claims=args.claim):
        if result["final"]:
            final.append(result)
        if not args.json:
            end = "\n" if result["final"] else "\r"
            print(sentence(result), end=end, file=sys.stdout if result["final"] else sys.stderr, flush=True)
    if args.json:
        print(json.dumps({"exhibit": args.slug, "claims": final}, ensure_ascii=False))
    if args.save:
        record.save_claims(args.slug, final)


def sentence(r: dict[str, Any]) -> str:
    """One line of a ClaimResult, for a terminal."""
    word = {True: "holds", False: "does not hold here", None: "undecided"}[r["holds"]]
    return (f"{r['id']:32} {r['here']:.4g} [{r['low']:.4g}, {r['high']:.4g}] {r['unit']}, n = {r['n']}: {word}"
            + (f" ({r['reason']})" if r.get("reason") and not r["holds"] else ""))


def _record(args: argparse.Namespace) -> int:
    from engines import catalog, record, runtime  # noqa: PLC0415

    slugs = [args.slug] if args.slug is not None else list(catalog.EXHIBITS)
    changed = 0
    for slug in [runtime.resolve(slug).slug for slug in slugs]:
        if args.check:
            same = record.check(slug)
            changed += not same
            print(f"{slug}: {'the same run' if same else 'another run than the recorded one'}")
        else:
            print(f"{slug}: {record.record(slug)}")
    return 1 if changed else 0


def _train(args: argparse.Namespace) -> int:
    from engines import training  # noqa: PLC0415

    _name_text(args)
    return int(training.main(args.recipe, args.device, args.jobs, every_recipe=args.all, steps=args.steps,
                             seconds=args.seconds) or 0)


def _export(args: argparse.Namespace) -> None:
    from engines import backends, weights  # noqa: PLC0415

    for name in args.net or weights.graphs():
        network = weights.module(name)
        if not hasattr(network, "step"):
            raise Refused(f"{name} has no step to export", "net")
        graph = backends.export(network)
        weights.replace(weights.graph_path(name), graph)
        print(f"{name}: {len(graph):,} bytes")


def _world(args: argparse.Namespace) -> None:
    from engines.worlds import shakespeare, stories  # noqa: PLC0415

    if args.name == "stories":
        stories.store()
        files = [stories.COMPILED]
    else:
        _name_text(args)
        shakespeare.store()
        files = [shakespeare.vocabulary_file(), shakespeare.pairs_file()]
    for file in files:
        print(f"{file.name}: {file.stat().st_size:,} bytes")


def _name_text(args: argparse.Namespace) -> None:
    """Tell the recipes, also those in processes of their own, where the text of --text lies."""
    if args.text is not None:
        os.environ["UNFOLD_TEXT"] = os.path.abspath(args.text)


def _weights(args: argparse.Namespace) -> None:
    from engines import training, weights  # noqa: PLC0415

    _name_text(args)
    for name in args.judge or ():
        print(name, json.dumps(training.judge(name)))
    if args.judge:
        return
    for line in weights.ledger():
        tail = f" of {line['limit']:,}" if "limit" in line else f"  {line['params']:,} parameters"
        print(f"{line['name']:28} {line['bytes']:>12,} bytes{tail}")


if __name__ == "__main__":
    sys.exit(main())
